/**
 * The page's requests to its server, with the API key that the user has entered. The key is in the tab's session
 * storage: it is gone when the tab is closed, and no other site can read it.
 */

const STORED = "tideline-api-key";
const RECONNECT_MS = 1_000;

/** Stores a key for all later requests, without characters that a header must not have. */
export function useKey(key) {
  sessionStorage.setItem(STORED, key.replace(/[^\x21-\x7e]/g, ""));
}

/** As `fetch`, for this server and with the key. */
export function ask(path, { headers = {}, ...options } = {}) {
  const key = sessionStorage.getItem(STORED);
  return fetch(path, { ...options, headers: key === null ? headers : { ...headers, authorization: `Bearer ${key}` } });
}

/**
 * Server-sent events with the API key, which an EventSource cannot send. Dispatches `open`, the events of the stream
 * and `error`, like an EventSource. It connects again after a connection was lost, and becomes `closed` when the server
 * refuses.
 */
export class EventStream extends EventTarget {
  closed = false;
  #stop = new AbortController();
  #lastId = null;

  constructor(path) {
    super();
    void this.#follow(path);
  }

  close() {
    this.closed = true;
    this.#stop.abort();
  }

  async #follow(path) {
    while (!this.closed) {
      try {
        const { signal } = this.#stop;
        const seen = this.#lastId === null ? {} : { "last-event-id": this.#lastId };
        const response = await ask(path, {
          signal,
          cache: "no-store",
          headers: { accept: "text/event-stream", ...seen },
        });
        if (response.ok) await this.#read(response.body);
        else this.closed = true;
      } catch {
        // The connection was lost, or `close` was called.
      }
      if (this.#stop.signal.aborted) return;
      this.dispatchEvent(new Event("error"));
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
    }
  }

  async #read(body) {
    this.dispatchEvent(new Event("open"));
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      text += part.value;
      const blocks = text.split(/\r?\n\r?\n/);
      text = blocks.pop();
      for (const block of blocks) this.#dispatch(block);
    }
  }

  #dispatch(block) {
    const lines = block.split(/\r?\n/);
    const values = (field) =>
      lines.flatMap((line) => (line.startsWith(`${field}:`) ? [line.slice(field.length + 1).replace(/^ /, "")] : []));
    this.#lastId = values("id").at(-1) ?? this.#lastId;
    const data = values("data");
    if (data.length > 0 && !this.closed)
      this.dispatchEvent(new MessageEvent(values("event").at(-1) ?? "message", { data: data.join("\n") }));
  }
}
