import { ExponentialBackoff, handleType, retry, TimeoutStrategy, timeout, wrap } from "cockatiel";
import { z } from "zod";
import type { Compatibility } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import { type Mask, maskOf, separated } from "../../core/secrets.ts";
import type { RegisteredSchema, SchemaRegistry } from "./registry.ts";

const MEDIA_TYPE = "application/vnd.schemaregistry.v1+json";
const LIMIT_MS = 5_000;

/** A reason to ask again: no answer, or the answer of a server that has failed. */
class Unanswered extends Error {}

const patiently = wrap(
  retry(handleType(Unanswered), { maxAttempts: 3, backoff: new ExponentialBackoff({ initialDelay: 100 }) }),
  timeout(LIMIT_MS, TimeoutStrategy.Aggressive),
);

const SchemaAnswer = z.object({ schema: z.string(), schemaType: z.string().default("AVRO") });
const IdAnswer = z.object({ id: z.int() });
const VersionAnswer = z.object({ id: z.int(), schema: z.string() });
const ErrorAnswer = z.object({ error_code: z.int(), message: z.string() });

/** A registry with Confluent's HTTP API. The URL may contain user and password. */
export class HttpRegistry implements SchemaRegistry {
  readonly #base: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #mask: Mask;

  constructor(address: string) {
    const { url, headers } = separated(address);
    this.#base = `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
    this.#headers = { accept: MEDIA_TYPE, "content-type": MEDIA_TYPE, ...headers };
    this.#mask = maskOf([address]);
  }

  async schemaById(id: number): Promise<string | null> {
    const answer = await this.#ask("GET", `/schemas/ids/${id}`);
    if (isMissing(answer, SCHEMA_MISSING)) return null;
    const { schema, schemaType } = this.#read(answer, SchemaAnswer);
    return schemaType === "AVRO" ? schema : null;
  }

  async register(subject: string, schema: string, compatibility: Compatibility): Promise<number> {
    const path = encodeURIComponent(subject);
    this.#read(await this.#ask("PUT", `/config/${path}`, { compatibility: compatibility.toUpperCase() }), z.unknown());
    const answer = await this.#ask("POST", `/subjects/${path}/versions`, { schema, schemaType: "AVRO" });
    if (answer.status === 409)
      throw new TidelineError(
        "SCHEMA_INCOMPATIBLE",
        `${subject}: the schema registry refuses the new version: ${messageOf(answer)}`,
        `Give new fields a default, or relax the stream's compatibility ("${compatibility}").`,
      );
    return this.#read(answer, IdAnswer).id;
  }

  async versions(subject: string): Promise<RegisteredSchema[]> {
    const path = `/subjects/${encodeURIComponent(subject)}/versions`;
    const answer = await this.#ask("GET", path);
    if (isMissing(answer, SUBJECT_MISSING)) return [];
    const versions: RegisteredSchema[] = [];
    for (const number of this.#read(answer, z.array(z.int())))
      versions.push(this.#read(await this.#ask("GET", `${path}/${number}`), VersionAnswer));
    return versions;
  }

  async #ask(method: string, path: string, body?: unknown): Promise<Answer> {
    try {
      // Pass an own signal: otherwise the policy uses one signal for all calls of the process, and each call adds a
      // listener to it.
      const { signal: own } = new AbortController();
      return await patiently.execute(async ({ signal }) => {
        const response = await fetch(`${this.#base}${path}`, {
          method,
          headers: this.#headers,
          signal,
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        }).catch((cause: unknown) => {
          throw new Unanswered("no answer", { cause });
        });
        const text = await response.text();
        if (response.status >= 500 || response.status === 429) throw new Unanswered(`status ${response.status}`);
        return { status: response.status, text };
      }, own);
    } catch (cause) {
      throw this.#notReady(`does not answer: ${(cause as Error).message}`, cause);
    }
  }

  /** Returns the content of a valid answer. Any other answer means "registry unavailable". */
  #read<T>(answer: Answer, schema: z.ZodType<T>): T {
    if (answer.status === 404 && errorCodeOf(answer) === null) throw this.#notReady("answers 404: its path is wrong");
    if (answer.status >= 400) throw this.#notReady(`answers ${answer.status}: ${messageOf(answer)}`);
    try {
      return schema.parse(JSON.parse(answer.text));
    } catch (cause) {
      throw this.#notReady("answers as a schema registry does not", cause);
    }
  }

  #notReady(what: string, cause?: unknown): TidelineError {
    return new TidelineError(
      "NOT_READY",
      this.#mask(`the schema registry at ${this.#base} ${what}`),
      "Start it, or correct TIDELINE_SCHEMA_REGISTRY: its path must be the " +
        "one below which /subjects lies. Nothing is lost.",
      { cause },
    );
  }
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

/**
 * A registry's codes for missing schemas and subjects. A 404 without them comes from another server, or from a wrong
 * path.
 */
const SCHEMA_MISSING = 40403;
const SUBJECT_MISSING = 40401;

function isMissing(answer: Answer, errorCode: number): boolean {
  return answer.status === 404 && errorCodeOf(answer) === errorCode;
}

function errorCodeOf({ text }: Answer): number | null {
  try {
    return ErrorAnswer.parse(JSON.parse(text)).error_code;
  } catch {
    return null;
  }
}

function messageOf({ text }: Answer): string {
  try {
    return ErrorAnswer.parse(JSON.parse(text)).message;
  } catch {
    return text.slice(0, 200);
  }
}
