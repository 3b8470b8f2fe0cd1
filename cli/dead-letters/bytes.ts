import { isUtf8 } from "node:buffer";

const WIDTH = 16;
/** The most that is shown of a value: characters of text, bytes of a hex dump. */
const MOST = { text: 65_536, dump: 4_096 };
const CONTROL = /[^\P{C}\n\t]/u;

/** Returns bytes for people: as text if all of it can be printed, else as a hex dump; "" for no value. */
export function readable(bytes: Buffer | null): string {
  if (bytes === null) return "";
  const text = isUtf8(bytes) ? bytes.toString() : "";
  // Control characters could move the cursor or change colours, so such a text is shown as a hex dump.
  if (text === "" || CONTROL.test(text)) return hexDump(bytes);
  const more = text.length - MOST.text;
  return more > 0 ? `${text.slice(0, MOST.text)}\n… ${more} characters more; --json gives all` : text;
}

function hexDump(bytes: Buffer): string {
  const lines: string[] = [];
  for (let at = 0; at < Math.min(bytes.length, MOST.dump); at += WIDTH) {
    const row = bytes.subarray(at, Math.min(at + WIDTH, MOST.dump));
    const hex = [...row].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = [...row].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${hex.padEnd(WIDTH * 3)} ${text}`);
  }
  if (bytes.length > MOST.dump) lines.push(`… ${bytes.length - MOST.dump} bytes more; --json gives all`);
  return lines.join("\n");
}
