import { isUtf8 } from "node:buffer";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { avroSchemaId, decodeOne, recordText } from "../../core/codec/decode/decode.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import { LETTER } from "../../store/dead-letters/dead-letters.ts";
import { deadLetterTopic } from "../../store/kafka/cluster/topics.ts";
import { openProducer } from "../../store/kafka/produce/producer.ts";
import type { Config } from "../setup/config.ts";
import { findLetter, placeOf, shortId } from "./dead-letters.ts";
import { schemasOf } from "./show.ts";

/** Lets a person correct a dead letter, checks the result, and stores it beside the original for `replay`. */
export async function editLetter(config: Config, text: string, file: string | undefined): Promise<void> {
  const { stream, name: letters, letter } = await findLetter(config, text);
  const name = shortId(config, letter.id);
  if (letter.replayedTo !== null) {
    const hint = "An edit would change nothing: send a corrected event as a new one.";
    throw new TidelineError("BAD_REQUEST", `${name} was replayed to ${letter.replayedTo} already`, hint);
  }
  const before = letter.edited ?? (await editable(config, stream, letter.original ?? null));
  const written = file === undefined ? await inEditor(config.editor, name, before) : await fileBytes(file);
  if (file === undefined && written.bytes.equals(before)) {
    await written.discard();
    process.stdout.write("nothing was changed\n");
    return;
  }
  const decoded = decodeOne(stream, written.bytes, undefined, placeOf(letter));
  if (!decoded.ok) {
    const hint =
      `Your text is in ${written.path}: correct it, then \`tideline ` +
      `dead-letters edit ${name} --file ${written.path}\`.`;
    throw new TidelineError("BAD_REQUEST", `the contract of ${stream.name} refuses it: ${decoded.reject}`, hint);
  }
  const producer = await openProducer({ brokers: config.kafkaBrokers });
  try {
    const headers = { [LETTER.kind]: "edit" };
    await producer.send(deadLetterTopic(letters), [{ key: letter.id, value: written.bytes, headers }]);
  } finally {
    await producer.close();
  }
  await written.discard();
  process.stdout.write(`${name} is edited; \`tideline dead-letters replay ${name}\` sends it\n`);
}

/** Returns the text to edit: the original, or an Avro record as JSON. */
async function editable(config: Config, stream: Stream, original: Buffer | null): Promise<Buffer> {
  if (original === null || avroSchemaId(original) === null) return original ?? Buffer.alloc(0);
  const avro = recordText(original, await schemasOf(config, stream, original));
  return avro.ok ? Buffer.from(avro.text) : original;
}

interface WrittenText {
  readonly path: string;
  readonly bytes: Buffer;
  /** Removes the file if this command has made it. */
  readonly discard: () => Promise<void>;
}

async function fileBytes(path: string): Promise<WrittenText> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new TidelineError("INPUT_MISSING", `${path} cannot be read`, "Name a file that exists.", { cause });
  });
  return { path, bytes, discard: async () => {} };
}

async function inEditor(editor: string, name: string, before: Buffer): Promise<WrittenText> {
  if (!isUtf8(before)) {
    const hint = `Write the event as JSON into a file, then \`tideline dead-letters edit ${name} --file <path>\`.`;
    throw new TidelineError("BAD_REQUEST", `the value of ${name} is not text`, hint);
  }
  const folder = await mkdtemp(join(tmpdir(), "tideline-letter-"));
  const path = join(folder, "letter.json");
  await writeFile(path, before);
  // A shell runs the editor, because EDITOR may contain flags.
  const { exitCode } = await execa(`${editor} "$TIDELINE_LETTER"`, {
    shell: true,
    stdio: "inherit",
    reject: false,
    env: { TIDELINE_LETTER: path },
  });
  const discard = () => rm(folder, { recursive: true, force: true });
  if (exitCode === 0) return { path, bytes: await readFile(path), discard };
  await discard();
  throw new TidelineError("BAD_REQUEST", `the editor "${editor}" failed`, "Set EDITOR to an editor, or use --file.");
}
