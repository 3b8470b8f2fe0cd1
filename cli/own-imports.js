// Resolves the imports of definitions, wherever their files are. (This is a hook of Node's module loader. It runs in a
// thread of its own, so it is plain JavaScript.)
import { compiledUrl } from "./compiled.js";
import { ownModule } from "./own-modules.js";

/** The running compiled program; null if the sources run directly. */
let program = null;

export function initialize(data) {
  program = data ?? null;
}

/**
 * Resolves `tideline` in a definition to the running Tideline, in its compiled form. Treats a .ts file as a module even
 * if no package.json says so.
 */
export async function resolve(specifier, context, next) {
  const own = ownModule(specifier);
  const found = await next(own === null ? specifier : new URL(`../${own}`, import.meta.url).href, context);
  const compiled = program === null ? null : compiledUrl(program, found.url);
  if (compiled !== null) return { ...found, url: compiled, format: "module" };
  return /\.ts(\?|$)/.test(found.url) ? { ...found, format: "module" } : found;
}
