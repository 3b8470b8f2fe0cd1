/**
 * Compiles the program in `root` (the folder of package.json, with a slash at its end), unless that has been done.
 * Returns the folder with one .js file for each .ts file of the program; null if there is no place to store it, or it
 * cannot be compiled.
 */
export function compiledProgram(root: string): Promise<string | null>;
