import { open } from "node:fs/promises";

/** Changes one bit of a file, as a failing disk would; at `place`, 0 to 1. */
export async function flipBit(path: string, place = 0.5, bit = 2): Promise<void> {
  const file = await open(path, "r+");
  try {
    const offset = Math.floor((await file.stat()).size * place);
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, offset);
    await file.write(Buffer.from([(buffer[0] ?? 0) ^ (1 << bit)]), 0, 1, offset);
  } finally {
    await file.close();
  }
}
