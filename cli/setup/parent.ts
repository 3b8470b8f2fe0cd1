/**
 * Ends this process when the process that started it is gone. That process may also have gone before this call: while a
 * process loads its modules, it does not notice.
 */
export function endWithParent(): void {
  process.on("disconnect", () => process.exit());
  if (!process.connected) process.exit();
}
