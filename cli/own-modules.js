// What the program gives to definitions under the name that they import.

/**
 * The source file that `tideline` or `tideline/schemas/<name>` stands for, below the program's root; null for other
 * names. The package itself has another name, because `tideline` in the npm registry is somebody else's.
 */
export function ownModule(specifier) {
  if (specifier === "tideline") return "core/definition/builders.ts";
  return specifier.startsWith("tideline/schemas/") ? `${specifier.slice("tideline/".length)}.ts` : null;
}
