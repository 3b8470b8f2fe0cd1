import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { UpStep } from "../../stack/bring-up.ts";
import { currentProgram } from "../../store/files/program.ts";

const script = fileURLToPath(new URL("../bundle.js", import.meta.url));

/**
 * A step of `tideline up` that bundles the program, so that roles start sooner. If it fails, roles start without the
 * bundle.
 */
export const bundleProgram: UpStep = {
  title: "Program",
  run: async (_, { signal }) => {
    if (currentProgram().folder === null) return;
    await promisify(execFile)(process.execPath, [script], { signal }).catch(() => signal.throwIfAborted());
  },
};
