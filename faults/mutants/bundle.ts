import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { type Replacement, replaced } from "./test-build.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));

/**
 * Writes these modules of the program and all that they import of it to one JavaScript file, with the text of one file
 * replaced. That takes less time than a test build, but what the modules read at run time, such as scripts of Redis, is
 * missing. `outfile` has to be below the repository, where installed packages are found. Throws when the text is not
 * there exactly once.
 */
export async function bundleMutant(
  modules: readonly string[],
  replacement: Replacement,
  outfile: string,
): Promise<void> {
  let found = false;
  await build({
    stdin: { contents: modules.map((file) => `export * from "./${file}";`).join("\n"), resolveDir: repository },
    outfile,
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    logLevel: "silent",
    plugins: [
      {
        name: "mutant",
        setup: ({ onLoad }) =>
          onLoad({ filter: /\.ts$/ }, async ({ path }) => {
            if (path !== join(repository, replacement.file)) return undefined;
            found = true;
            return { contents: replaced(await readFile(path, "utf8"), replacement), loader: "ts" };
          }),
      },
    ],
  });
  if (!found) throw new RangeError(`${replacement.file} is not part of ${modules.join(", ")}`);
}
