/**
 * Ends this process when the one that started it is gone, also one that was gone before this was called: while a
 * process loads its modules, nothing hears of that.
 */
export function endWithParent(): void {
  process.on("disconnect", () => process.exit());
  if (!process.connected) process.exit();
}
