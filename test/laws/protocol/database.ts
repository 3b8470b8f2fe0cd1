import { inject } from "vitest";

/**
 * Databases of the shared Redis, by test file. Simulations empty theirs, so no two files share one. All others use
 * number 0.
 */
const DATABASES = { mutants: 1, protocol: 2 } as const;

/** The URL of a file's database. (The number of vitest's worker would not do: two files at once may have the same.) */
export const ownDatabase = (file: keyof typeof DATABASES): string => `${inject("redisUrl")}/${DATABASES[file]}`;
