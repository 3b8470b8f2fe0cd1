import { type Command, Option } from "commander";
import type { ListFlags } from "../dead-letters/list.ts";
import type { ReplayFlags } from "../dead-letters/replay.ts";
import { loadConfig } from "../setup/config.ts";
import { since, wholeNumberFrom } from "../terminal/flags.ts";

const examples = `
A letter is a record that did not fit its stream's contract. Its id is where it lies: stream:partition:offset.

Examples:
  $ tideline dead-letters list                              the newest fifty of every stream
  $ tideline dead-letters list order-completed --reason contract --since 1h
  $ tideline dead-letters show order-completed:0:4711
  $ tideline dead-letters edit order-completed:0:4711       opens your editor
  $ tideline dead-letters replay order-completed:0:4711     sends what you wrote as a new record
`;

/** Adds `tideline dead-letters`. */
export function registerDeadLetters(program: Command): void {
  const group = program
    .command("dead-letters")
    .description("records that were refused: list, show, edit and replay them")
    .addHelpText("after", examples);
  registerList(group);
  registerShow(group);
  registerEdit(group);
  registerReplay(group);
}

const json = () => new Option("--json", "as JSON").default(false);
const idText = "stream:partition:offset, as `list` shows it";

function registerList(group: Command): void {
  group
    .command("list", { isDefault: true })
    .description("show the refused records, newest first")
    .argument("[stream]", "only this stream's")
    .option("--reason <word>", "only those whose reason begins like this: empty, not-utf8, not-json, contract, …")
    .addOption(new Option("--state <state>", "only these").choices(["open", "edited", "replayed"]))
    .addOption(
      new Option("--since <time>", "only those refused since: a time, or how long ago, such as 2h").argParser(since),
    )
    .addOption(new Option("--limit <n>", "show at most n dead letters").default(50).argParser(wholeNumberFrom(1)))
    .addOption(json())
    .addHelpText(
      "after",
      "\n" +
        "Examples:\n" +
        "  $ tideline dead-letters list order-completed --state open --reason contract --since 1h\n" +
        "  $ tideline dead-letters list --json --limit 1000\n",
    )
    .action(async (stream: string | undefined, flags: ListFlags) => {
      const { listLetters } = await import("../dead-letters/list.ts");
      await listLetters(loadConfig(process.env), stream, flags);
    });
}

function registerShow(group: Command): void {
  group
    .command("show")
    .description("show one: why it was refused, its position, key and bytes")
    .argument("<id>", idText)
    .addOption(json())
    .addHelpText(
      "after",
      "\n" +
        "Examples:\n" +
        "  $ tideline dead-letters show order-completed:0:4711\n" +
        "  $ tideline dead-letters show order-completed:0:4711 --json   bytes as base64\n",
    )
    .action(async (id: string, flags: { json: boolean }) => {
      const { showLetter } = await import("../dead-letters/show.ts");
      await showLetter(loadConfig(process.env), id, flags.json);
    });
}

function registerEdit(group: Command): void {
  group
    .command("edit")
    .description("correct one; the new value must fit the contract, and waits there for `replay`")
    .argument("<id>", idText)
    .option("--file <path>", "take what this file holds instead of opening an editor (EDITOR)")
    .addHelpText(
      "after",
      "\n" +
        "Examples:\n" +
        "  $ tideline dead-letters edit order-completed:0:4711\n" +
        "  $ tideline dead-letters edit order-completed:0:4711 --file corrected.json\n",
    )
    .action(async (id: string, flags: { file?: string }) => {
      const { editLetter } = await import("../dead-letters/edit.ts");
      await editLetter(loadConfig(process.env), id, flags.file);
    });
}

const replayHelp = `
What is sent is the edit, under the original key, as a new record at the log's end; the header replay-of names the
letter. A letter is replayed once: the record and the note that it was sent are one transaction, so that neither a
second call nor a crash counts it twice. A letter that nobody edited is not sent: its original is either still refused,
or, if the contract was widened since (under another revision), counted already where it lies.

Examples:
  $ tideline dead-letters replay order-completed:0:4711
  $ tideline dead-letters replay --all --dry-run
  $ tideline dead-letters replay --reason contract
`;

function registerReplay(group: Command): void {
  group
    .command("replay")
    .description("send edited ones to their stream again")
    .argument("[ids...]", idText)
    .option("--all", "every edited one of every stream", false)
    .option("--reason <word>", "every edited one whose reason begins like this")
    .option("--dry-run", "say what would be sent, and send nothing", false)
    .addOption(json())
    .addHelpText("after", replayHelp)
    .action(async (ids: string[], flags: ReplayFlags, command: Command) => {
      const ways = [ids.length > 0, flags.all, flags.reason !== undefined].filter(Boolean).length;
      if (ways !== 1) return command.error("error: name ids, or give --reason <word>, or --all");
      const { replayLetters } = await import("../dead-letters/replay.ts");
      await replayLetters(loadConfig(process.env), ids, flags);
    });
}
