import { open } from "node:fs/promises";

/** Changes one bit in the middle of a file, as a failing disk would. */
export async function flipByte(path: string): Promise<void> {
  const file = await open(path, "r+");
  try {
    const place = Math.floor((await file.stat()).size / 2);
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, place);
    await file.write(Buffer.from([(buffer[0] ?? 0) ^ 0b100]), 0, 1, place);
  } finally {
    await file.close();
  }
}
