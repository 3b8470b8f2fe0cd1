// biome-ignore-all lint/suspicious/noTemplateCurlyInString: texts of the program

/**
 * Protocol bugs, each one text of the program replaced by another. A test build (test-build.ts) is made with some of them; the program
 * itself knows nothing of this. They are here to show that the harness and the property tests would notice.
 */
export interface Plant {
  readonly name: string;
  /** What is broken, for people. */
  readonly what: string;
  /** Below the repository. */
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /**
   * Whether the protocol needs what was taken away: without it a number is wrong, or the view never gets anywhere again. What is not necessary
   * only saves time, keeps answers complete, or is a second line of defence.
   */
  readonly necessary: boolean;
  /** Fault scenarios that should bring it to light. */
  readonly scenarios: readonly string[];
  /** From this seed on the property test's worlds (test/laws/protocol) find it soon; absent when it is out of their reach. */
  readonly seed?: number;
}

const CHAIN = "store/chain.ts";
const TRACK = "speed-layer/view-track.ts";

/** In the order of the protocol: apply, consumer, chain, refresh, read. */
export const plants: readonly Plant[] = [
  {
    name: "no-position-check",
    what: "apply takes a batch wherever it begins",
    file: "store/scripts/apply.lua",
    find: "if stored ~= from then",
    replace: "if false then",
    necessary: true,
    scenarios: ["apply-reply-lost", "zombie-consumer", "rebalance-storm"],
    seed: 1,
  },
  {
    name: "position-check-at-most",
    what: "apply takes a batch that begins after the stored position",
    file: "store/scripts/apply.lua",
    find: "if stored ~= from then",
    replace: "if less(from, stored) then",
    necessary: true,
    scenarios: ["redis-power-loss", "redis-older-than-cut"],
  },
  {
    name: "position-apart",
    what: "a chain that begins anew keeps the old one's applied positions",
    file: CHAIN,
    find: '["chain", "applied", "mark"',
    replace: '["chain", "begun", "mark"',
    necessary: true,
    scenarios: ["redis-older-than-cut", "redis-power-loss", "redis-empty"],
    seed: 1,
  },
  {
    name: "next-is-last-record",
    what: "the next position is the one after the last record, as if no control records followed",
    file: "store/log.ts",
    find: "const last = batches.at(-1);",
    replace: "const last = batches.findLast(({ attributes }) => (attributes & CONTROL_BATCH) === 0);",
    necessary: true,
    scenarios: ["transactions"],
    seed: 1,
  },
  {
    name: "aborted-let-through",
    what: "records of aborted transactions are read like any other",
    file: "store/log.ts",
    find: "!open.has(batch.producerId)",
    replace: "true",
    necessary: true,
    scenarios: ["transactions"],
    seed: 1,
  },
  {
    name: "abort-never-ends",
    what: "after its first aborted transaction a producer's committed ones are dropped too",
    file: "store/log.ts",
    find: "open.delete(batch.producerId);",
    replace: "continue;",
    necessary: true,
    scenarios: ["transactions"],
  },
  {
    name: "no-warm-up",
    what: "the ids of the dedup window are not read before decoding begins",
    file: "store/warm-dedup.ts",
    find: "const width = BigInt(stream.dedupWindow);",
    replace: "const width = 0n;",
    necessary: true,
    scenarios: ["speed-kill-before-apply", "rebalance-storm", "everything-killed"],
    seed: 1,
  },
  {
    name: "no-warm-up-after-seek",
    what: "the ids of the dedup window are read once, not after every seek",
    file: "speed-layer/lane.ts",
    find: "this.#decoded.get(partition) !== wants",
    replace: "!this.#decoded.has(partition) || wants === undefined",
    necessary: true,
    scenarios: ["redis-empty", "redis-power-loss", "rebalance-storm"],
  },
  {
    name: "warm-although-it-failed",
    what: "after a warm-up that failed the position that the memory of ids had before still counts as warm",
    file: "speed-layer/lane.ts",
    find: "for (const [partition] of moved) this.#decoded.delete(partition);",
    replace: "",
    necessary: true,
    scenarios: [],
  },
  {
    name: "stopped-in-main-lane",
    what: "a view that was stopped looks again in the main lane, which reads again what it has read",
    file: "speed-layer/lane.ts",
    find: 'if (track.phase === "live" && isBehind(track, others)) await this.#deps.moveOut(track);',
    replace: "",
    necessary: false,
    scenarios: [],
  },
  {
    name: "seek-remembers-the-future",
    // Ours looks only backwards from each record, whatever else it remembers: forgetting is a second line of defence.
    what: "a seek keeps the ids of records after the new position",
    file: "speed-layer/lane.ts",
    find: "await this.#decoder.forget(moved.map(([partition]) => partition));",
    replace: "",
    necessary: false,
    scenarios: ["redis-empty", "redis-power-loss", "rebalance-storm"],
  },
  {
    name: "dedup-window-short",
    what: "a repeat at exactly the window's width is no duplicate",
    file: "core/decode.ts",
    find: "WHERE fresh AND distance <= ${stream.dedupWindow}",
    replace: "WHERE fresh AND distance < ${stream.dedupWindow}",
    necessary: true,
    scenarios: ["speed-kill-before-apply"],
    seed: 1,
  },
  {
    name: "rejects-have-ids",
    // What is refused was not recognised, so that its columns were empty already.
    what: "a record that was refused makes a later good one its duplicate",
    file: "store/decoder.ts",
    find: '"_id", "_hash", "_version"];',
    replace: '"_version"];',
    necessary: false,
    scenarios: ["speed-kill-before-apply"],
  },
  {
    name: "positions-live",
    what: "a batch is prepared by positions that an answer of Redis may move meanwhile",
    file: TRACK,
    find: "const positions = new Map(this.#positions);",
    replace: "const positions = this.#positions;",
    necessary: true,
    scenarios: ["redis-power-loss", "redis-empty", "rebalance-storm"],
  },
  {
    name: "batch-beyond-position",
    what: "a batch is applied although it begins after the view's position",
    file: TRACK,
    find: "from <= held && held < to",
    replace: "held < to",
    necessary: true,
    scenarios: ["redis-power-loss", "redis-older-than-cut", "rebalance-storm"],
  },
  {
    name: "mark-not-verified",
    what: "a log that was written anew below our positions is taken for the same",
    file: "speed-layer/marks.ts",
    find: "if (!same) throw",
    replace: "if (false) throw",
    necessary: true,
    scenarios: [],
  },
  {
    name: "never-reseed",
    what: "a chain that does not tile from the newest cut is not made anew",
    file: TRACK,
    find: "if (chain !== null && tilesOf(cutFromJson(manifest.cut), chain).ok) return chain;",
    replace: "if (chain !== null) return chain;",
    necessary: true,
    scenarios: ["redis-older-than-cut", "redis-power-loss"],
    seed: 1,
  },
  {
    name: "reseed-stale",
    what: "a chain is made anew at the cut before the newest one",
    file: TRACK,
    find: "const cut = cutFromJson(manifest.cut);",
    replace: "const cut = cutFromJson(manifest.base);",
    necessary: true,
    scenarios: ["redis-empty", "redis-older-than-cut"],
    seed: 1,
  },
  {
    name: "seal-empty",
    what: "an open segment is sealed although nothing was applied to it",
    file: "store/scripts/seal.lua",
    find: "if not moved then",
    replace: "if false then",
    necessary: false,
    scenarios: [],
  },
  {
    name: "seal-not-idempotent",
    what: "sealing with a token that was used already seals again",
    file: "store/scripts/seal.lua",
    find: "if segment.token == token then",
    replace: "if false then",
    necessary: false,
    scenarios: ["worker-kill-each-step"],
  },
  {
    name: "pointer-moves-back",
    what: "publish sets the pointer to an older version",
    file: "store/scripts/publish.lua",
    find: "if pointer and tonumber(pointer) < tonumber(ARGV[1]) then",
    replace: "if pointer then",
    necessary: false,
    scenarios: ["zombie-activity"],
  },
  {
    name: "no-grace",
    what: "segments below the new cut go at once, under whoever reads with the version before",
    file: "batch-layer/refresh.ts",
    find: "moved ? base : null)",
    replace: "moved ? cutFromJson(manifest.cut) : null)",
    necessary: false,
    scenarios: ["reads-during-publish-and-trim"],
  },
  {
    name: "segment-by-id",
    what: "a segment is what has its id, whatever its span: in a Redis that came back as it was, or in a chain that was made anew, that is another",
    file: "store/scripts/common.lua",
    find: "if not same_cut(segment.from, want.from) or not same_cut(segment.to, want.to) then return nil end",
    replace: "",
    necessary: true,
    scenarios: ["redis-power-loss", "redis-older-than-cut"],
  },
  {
    name: "torn-unseen",
    what: "a chain is used although Redis has kept the beginning of a script's writes only",
    file: "store/scripts/common.lua",
    find: "return state[1] ~= state[2]",
    replace: "return false",
    necessary: true,
    scenarios: ["redis-power-loss"],
  },
  {
    name: "torn-but-ended",
    what: "a script that ends adds one, instead of writing down which one it was: writes that Redis carries out twice go unseen",
    file: "store/scripts/common.lua",
    find: "redis.call('HSET', chain, 'ended', tostring(began))",
    replace: "redis.call('HINCRBY', chain, 'ended', '1')",
    necessary: true,
    scenarios: ["redis-power-loss"],
  },
  {
    name: "ids-given-twice",
    what: "segments of a chain that begins anew have the ids of those that are gone, and find what is left of them",
    file: "store/scripts/common.lua",
    find: "string.sub(nonce, 1, 13) .. '.' .. number",
    replace: "number",
    necessary: true,
    scenarios: ["redis-power-loss"],
  },
  {
    name: "fold-loses-buckets",
    what: "a fold swaps its segment in although Redis has lost a part of it",
    file: "store/scripts/fold.lua",
    find: "local whole = first and redis.call('ZCARD', merge .. 'buckets') == tonumber(ARGV[4])",
    replace: "local whole = first",
    necessary: true,
    scenarios: ["redis-power-loss"],
  },
  {
    name: "fold-across-cut",
    what: "segments are folded across a cut that a refresh is about to publish",
    file: "store/scripts/fold.lua",
    find: "if whole and segments[first + offset].token then",
    replace: "if false then",
    necessary: false,
    scenarios: [],
  },
  {
    name: "fold-loses-sketches",
    what: "a folded segment has the sketches of the first one only",
    file: "store/scripts/merge.lua",
    find: "for _, one in ipairs(wanted) do",
    replace: "for _, one in ipairs({wanted[1]}) do",
    necessary: true,
    scenarios: [],
  },
  {
    name: "wait-for-speed",
    what: "a refresh waits for a speed layer that does not move, for ever",
    file: "batch-layer/cut-choice.ts",
    find: "healthy && !waited",
    replace: "healthy",
    necessary: true,
    scenarios: ["everything-killed"],
  },
  {
    name: "archive-not-exclusive",
    what: "an archiver that comes second overwrites the entry of the first",
    file: "store/archive.ts",
    find: "return this.#data.createExclusively(documentOf(topic, partition, entry), ArchiveEntry.parse(entry));",
    replace:
      "await this.#data.replace(documentOf(topic, partition, entry), JSON.stringify(ArchiveEntry.parse(entry)));\n    return true;",
    necessary: true,
    scenarios: ["zombie-activity"],
  },
  {
    name: "delta-takes-whole-entries",
    what: "of an archive entry that straddles the cut all rows are taken",
    file: "batch-layer/archived-events.ts",
    find: "AND _offset >= ${first} AND _offset < ${last})",
    replace: "AND _offset < ${last})",
    necessary: true,
    scenarios: ["worker-kill-each-step", "redis-empty"],
  },
  {
    name: "ledger-not-compared",
    what: "a refresh publishes although the speed layer counted something else",
    file: "batch-layer/ledger-check.ts",
    find: "if (!ledgersEqual(segment, ledger))",
    replace: "if (false)",
    necessary: false,
    scenarios: [],
  },
  {
    name: "manifest-not-exclusive",
    what: "a refresh that comes second overwrites the version of the first",
    file: "store/manifests.ts",
    find: "return this.#data.createExclusively(file(manifest.generation, manifest.version), Manifest.parse(manifest));",
    replace:
      "await this.#data.replace(file(manifest.generation, manifest.version), JSON.stringify(Manifest.parse(manifest)));\n    return true;",
    necessary: true,
    scenarios: ["zombie-activity"],
    seed: 1,
  },
  {
    name: "rebase-on-newest",
    what: "a delta is published on whatever version is the newest, not on the one that it begins at",
    file: "batch-layer/refresh.ts",
    find: "await stores.manifests.version(generation, version);\n  if (previous === null)",
    replace: "await stores.manifests.newest(generation);\n  if (previous === null)",
    necessary: true,
    scenarios: ["zombie-activity"],
    seed: 1,
  },
  {
    name: "no-tiling-check",
    what: "a read joins batch version and segments without looking whether they meet",
    file: "serving/join.ts",
    find: "if (!run.ok) return { ok: false, missing: missingOf(run.misfit) };",
    replace:
      "if (!run.ok) return { ok: true, closed: chain.segments.filter(({ to }) => to !== null), applied: chain.applied };",
    necessary: true,
    scenarios: ["redis-older-than-cut", "redis-power-loss", "reads-during-publish-and-trim"],
    seed: 1,
  },
  {
    name: "read-not-atomic",
    what: "a read asks for the applied positions after it has read the open segment",
    file: CHAIN,
    find: "      chain: state,\n",
    replace: "      chain: (parts.length > 0 ? await this.load() : null) ?? state,\n",
    necessary: true,
    scenarios: ["speed-kill-before-apply"],
    seed: 1,
  },
  {
    name: "held-too-long",
    what: "a reader keeps what it has of the open segment beyond the state that it was read of",
    file: "serving/live-reads.ts",
    find: "if (look === null || look.chain.digest !== this.#known?.digest) this.#held.clear();",
    replace: "",
    necessary: true,
    scenarios: ["scripts-flushed", "speed-kill-at-random"],
    seed: 1,
  },
  {
    name: "answered-once",
    what: "an answer that is held is given again until the next version",
    file: "serving/reader.ts",
    find: "manifest === newest && chain?.digest === now.digest",
    replace: "manifest === newest",
    necessary: true,
    scenarios: ["scripts-flushed"],
  },
  {
    name: "cache-by-id",
    what: "a reader takes a segment from its cache by its id, although that is another span's by now",
    file: "serving/segment-cache.ts",
    find: "`${generation} ${spanName(segment)}`",
    replace: "`${generation} ${segment.id}`",
    necessary: true,
    scenarios: ["redis-empty", "redis-power-loss"],
  },
];

/** The plants of these names; throws on one that there is not. */
export function plantsNamed(names: readonly string[]): Plant[] {
  return names.map((name) => {
    const found = plants.find((plant) => plant.name === name);
    if (found === undefined)
      throw new RangeError(`there is no plant "${name}"; there are ${plants.map((plant) => plant.name).join(", ")}`);
    return found;
  });
}
