import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** What an `apply` on its way to Redis contains: the digest by which EVALSHA names the script. */
export async function applyMarker(program: string): Promise<string> {
  const script = await readFile(join(program, "store", "scripts", "apply.lua"));
  return createHash("sha1").update(script).digest("hex");
}
