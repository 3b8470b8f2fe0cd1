// How definitions are loaded, wherever their files lie. (A hook of Node's module loader; it runs in a thread of its
// own, so it is plain JavaScript.)
import { compiledUrl } from "./compiled.js";
import { ownModule } from "./own-modules.js";

/** The compiled program that runs; null when the sources run as they are. */
let program = null;

export function initialize(data) {
  program = data ?? null;
}

/**
 * What a definition imports as `tideline` is the Tideline that runs it, as it was compiled. And a .ts file is a module,
 * also where no package.json says so.
 */
export async function resolve(specifier, context, next) {
  const own = ownModule(specifier);
  const found = await next(own === null ? specifier : new URL(`../${own}`, import.meta.url).href, context);
  const compiled = program === null ? null : compiledUrl(program, found.url);
  if (compiled !== null) return { ...found, url: compiled, format: "module" };
  return /\.ts(\?|$)/.test(found.url) ? { ...found, format: "module" } : found;
}
