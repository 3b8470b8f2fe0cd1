import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { UpStep } from "../../stack/bring-up.ts";
import { currentProgram } from "../../store/files/program.ts";

const script = fileURLToPath(new URL("../bundle.js", import.meta.url));

/** The step of `tideline up` after which roles start sooner. Where it cannot be done, they start as they did. */
export const bundleProgram: UpStep = {
  title: "Program",
  run: async (_, { signal }) => {
    if (currentProgram().folder === null) return;
    await promisify(execFile)(process.execPath, [script], { signal }).catch(() => signal.throwIfAborted());
  },
};
