import { formatDuration } from "../../core/time.ts";
import type { ViewOverview } from "../../serving/operations/overview.ts";
import { shownStatus } from "../../serving/read/live/shown-status.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import type { Part, Unreadable } from "../../store/definitions/generations.ts";
import { livingGenerations, shownParts } from "../operations/generations.ts";
import type { Config } from "../setup/config.ts";
import { seconds } from "../terminal/seconds.ts";
import { bytes, print } from "../terminal/sheet.ts";
import { overviewsOf } from "./views.ts";

interface ViewRow {
  readonly view: string;
  readonly stream: string;
  readonly generation: string;
  /** served: answers; next: is being built; kept: was served before, and can be served again. */
  readonly part: Part;
  /**
   * followed: kept up to date; frozen: this release computes it otherwise and only serves its newest version;
   * unreadable: cannot be served.
   */
  readonly state: "followed" | "frozen" | "unreadable";
  readonly grain: string;
  /** Null before the first version. */
  readonly version: number | null;
  readonly batch: { readonly files: number; readonly rows: number; readonly sizeBytes: number };
  /** Cells and segments in Redis since the cut. */
  readonly live: { readonly cells: number; readonly segments: number };
  readonly freshnessMs: number | null;
  readonly complete: boolean;
}

/** Prints every generation that is not retired, with its size. */
export async function listViews(config: Config, json: boolean): Promise<void> {
  const { living, unreadable } = await livingGenerations(config, await loadDefinitions(config));
  const { overviews } = await overviewsOf(
    config,
    living.map(({ definition }) => definition),
  );
  const parts = await shownParts(config, living);
  const rows = [
    ...overviews.map((overview, index) => viewRow(overview, parts[index] ?? "served")),
    ...unreadable.map(unreadableRow),
  ];
  const sheet = {
    head: [
      "view",
      "stream",
      "generation",
      "part",
      "grain",
      "version",
      "files",
      "rows",
      "size",
      "live cells",
      "fresh",
      "complete",
    ],
    right: ["version", "files", "rows", "size", "live cells", "fresh"],
    rows: rows.map((row) => [
      row.view,
      row.stream,
      row.generation.slice(row.view.length + 1),
      row.state === "followed" ? row.part : `${row.part}, ${row.state}`,
      row.grain,
      `${row.version ?? "-"}`,
      `${row.batch.files}`,
      row.batch.rows.toLocaleString("en-US"),
      bytes(row.batch.sizeBytes),
      row.live.cells.toLocaleString("en-US"),
      seconds(row.freshnessMs),
      row.complete ? "yes" : "NO",
    ]),
  };
  await print(json, rows, sheet, "no views: TIDELINE_VIEWS names folders without any");
}

function viewRow({ definition, status, damage }: ViewOverview, part: Part): ViewRow {
  const { view, generation, frozen } = definition;
  const { version, freshnessMs, complete } = shownStatus(status);
  const files = status?.manifest.files ?? [];
  const sum = (of: (file: (typeof files)[number]) => number) => files.reduce((total, file) => total + of(file), 0);
  return {
    view: view.name,
    stream: view.stream.name,
    generation,
    part,
    state: damage !== undefined ? "unreadable" : frozen ? "frozen" : "followed",
    grain: view.table === null ? formatDuration(view.grainMs) : `table, ${view.table.shards} shards`,
    version,
    batch: {
      files: files.length,
      rows: sum(({ rows }) => rows),
      sizeBytes: sum(({ sizeBytes, index }) => sizeBytes + (index?.sizeBytes ?? 0)),
    },
    live: { cells: status?.chain?.cells ?? 0, segments: status?.chain?.segments.length ?? 0 },
    freshnessMs,
    complete,
  };
}

function unreadableRow({ view, generation, part }: Unreadable): ViewRow {
  return {
    view,
    stream: "-",
    generation,
    part,
    state: "unreadable",
    grain: "-",
    version: null,
    batch: { files: 0, rows: 0, sizeBytes: 0 },
    live: { cells: 0, segments: 0 },
    freshnessMs: null,
    complete: false,
  };
}
