// biome-ignore-all lint/suspicious/noTemplateCurlyInString: texts of the program

import type { Plant } from "./plant.ts";

/** Mutants of joined tables, tombstones, and questions for single keys. */
export const tablePlants: readonly Plant[] = [
  {
    name: "keyed-evicted",
    what: "a question for one key takes a page of a closed segment that Redis has evicted for one without the key",
    file: "store/redis/scripts/keyed.lua",
    find: "elseif redis.call('EXISTS', hash) == 0 then return false end",
    replace: "end",
    necessary: true,
    scenarios: [],
  },
  {
    name: "keyed-any-key",
    what: "what was read of a closed segment for one key is taken for another key of its shard",
    file: "serving/read/live/segment-cache.ts",
    find: "part.toMs, ...part.fields]",
    replace: "part.toMs]",
    necessary: true,
    scenarios: [],
  },
  {
    name: "join-beyond-end",
    what: "a page of a joined table has keys beyond the end of a table that was not read so far",
    file: "core/query/joined-rows.ts",
    find: "if (end !== null && compareKeys(key, end) > 0) break;",
    replace: "",
    necessary: true,
    scenarios: [],
  },
  {
    name: "joined-page-of-now",
    what: "the next page of a joined table is read where the logs stand now, not where the first page stood",
    file: "serving/tables/joined-request.ts",
    find: "at: page === null ? position.at : known(join, page.at)",
    replace: "at: position.at",
    necessary: true,
    scenarios: [],
  },
  {
    name: "tombstone-counted",
    what: "views count records without a value that delete a key",
    file: "core/definition/counted.ts",
    find: "NOT ${TOMBSTONE} AND ${wanted",
    replace: "${wanted",
    necessary: true,
    scenarios: [],
  },
  {
    name: "tombstone-filtered",
    what: "the newest record of a key is the one before the record without a value that deletes it",
    file: "core/definition/counted.ts",
    find: 'table?.kind !== "latest"',
    replace: "table !== undefined",
    necessary: true,
    scenarios: [],
  },
  {
    name: "tombstone-other-key",
    what: "a record without a value removes a row of a table whose key it does not tell",
    file: "core/definition/counted.ts",
    find: " || !isToldByKey(by, stream)",
    replace: "",
    necessary: true,
    scenarios: [],
  },
];
