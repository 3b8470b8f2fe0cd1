// The modules of the program that definitions can import by name.

/**
 * Returns the source file for `tideline` or `tideline/schemas/<name>`, relative to the program's root; null for other
 * names. The package itself has another name, because `tideline` in the npm registry belongs to somebody else.
 */
export function ownModule(specifier) {
  if (specifier === "tideline") return "core/definition/builders.ts";
  return specifier.startsWith("tideline/schemas/") ? `${specifier.slice("tideline/".length)}.ts` : null;
}
