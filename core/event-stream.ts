/** One server-sent event. */
export interface ServerEvent {
  readonly event: string;
  readonly data: string;
  /** The last id that the stream has sent. Null before the first one. */
  readonly id: string | null;
}

/** Yields server-sent events (WHATWG HTML, section 9.2). Skips comments and retry times. */
export async function* eventData(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  let text = "";
  let id: string | null = null;
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let found = /\r?\n\r?\n/.exec(text); found !== null; found = /\r?\n\r?\n/.exec(text)) {
      const block = text.slice(0, found.index).split(/\r?\n/);
      text = text.slice(found.index + found[0].length);
      const values = (field: string) =>
        block.flatMap((line) => (line.startsWith(`${field}:`) ? [line.slice(field.length + 1).replace(/^ /, "")] : []));
      const data = values("data");
      id = values("id").at(-1) ?? id;
      if (data.length > 0) yield { event: values("event").at(-1) ?? "message", data: data.join("\n"), id };
    }
  }
}
