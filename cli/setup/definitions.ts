import type { Stream } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import type { Config } from "./config.ts";

/** Returns the stream with this name. Throws STREAM_UNKNOWN, which lists the streams. */
export async function findStream(config: Config, name: string): Promise<Stream> {
  const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
  const { streams } = await loadDefinitions(config);
  const found = streams.get(name);
  if (found !== undefined) return found;
  throw streamUnknown(name, streams.keys());
}

export function streamUnknown(name: string, known: Iterable<string>): TidelineError {
  return new TidelineError("STREAM_UNKNOWN", `there is no stream "${name}"`, `Take one of: ${[...known].join(", ")}.`);
}

/** Returns the view with this name. Throws VIEW_UNKNOWN, which lists the views. */
export async function findView(config: Config, name: string): Promise<Definition> {
  const { loadDefinitions } = await import("../../store/definitions/definitions.ts");
  const { views } = await loadDefinitions(config);
  const found = views.get(name);
  if (found !== undefined) return found;
  throw new TidelineError(
    "VIEW_UNKNOWN",
    `there is no view "${name}"`,
    `Take one of: ${[...views.keys()].join(", ")}.`,
  );
}
