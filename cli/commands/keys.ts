import { type Command, InvalidArgumentError, Option } from "commander";
import { API_ACTIONS, type ApiAction, isKeyName } from "../../core/access/api-key.ts";
import type { CreateFlags } from "../keys/keys.ts";
import { loadConfig } from "../setup/config.ts";
import { duration } from "../terminal/flags.ts";

const examples = `
An API that listens beyond loopback shows records only to the holder of a key; with TIDELINE_API_KEYS=required every
answer needs one. Keys are in TIDELINE_HOME/api-keys, which every \`tideline serve\` reads; only the hash of a secret is
stored. A client sends its key as Authorization: Bearer <key>, and the commands of Tideline send TIDELINE_API_KEY.

Examples:
  $ tideline keys create grafana --allow read
  $ tideline keys create support --allow read,records --stream order-completed --expires 90d
  $ TIDELINE_API_KEY=$(tideline keys create nightly --allow read) tideline query revenue
  $ tideline keys list
  $ tideline keys revoke support
`;

const createHelp = `
Actions:
  read      answers and proofs of views, and which streams and views there are
  records   what shows single records: records of streams, rows of tables, histories of keys, alerts

Without --stream and --view the key is for everything. A key for a stream is also for the views and tables that read it.
The key alone is printed on stdout, and what it is for on stderr.

Examples:
  $ tideline keys create grafana --allow read
  $ tideline keys create desk --allow read,records --view revenue --view orders --expires 30d
`;

/** Adds `tideline keys`. */
export function registerKeys(program: Command): void {
  const group = program
    .command("keys")
    .description("keys of the HTTP API: create, list and revoke")
    .addHelpText("after", examples);
  registerCreate(group);
  group
    .command("list", { isDefault: true })
    .description("show every key, also those that are expired or revoked, without its secret")
    .addOption(new Option("--json", "as JSON").default(false))
    .addHelpText("after", "\nExample:\n  $ tideline keys list --json\n")
    .action(async ({ json }: { json: boolean }) => {
      const { listKeys } = await import("../keys/keys.ts");
      await listKeys(loadConfig(process.env), json);
    });
  group
    .command("revoke")
    .description("revoke a key; its live streams end")
    .argument("<name|id>", "which key")
    .addHelpText("after", "\nExample:\n  $ tideline keys revoke grafana\n")
    .action(async (name: string) => {
      const { revokeKey } = await import("../keys/keys.ts");
      await revokeKey(loadConfig(process.env), name);
    });
}

function registerCreate(group: Command): void {
  group
    .command("create")
    .description("create a key and print it; it cannot be shown again")
    .argument("<name>", "who or what it is for; the audit log has it", keyName)
    .addOption(
      new Option("--allow <actions>", `what it allows, by comma: ${API_ACTIONS.join(", ")}`)
        .argParser(actions)
        .makeOptionMandatory(),
    )
    .addOption(
      repeated("--stream <name>", "only for this stream, and the views and tables of it; repeat it for several"),
    )
    .addOption(repeated("--view <name>", "only for this view or table; repeat it for several"))
    .addOption(new Option("--expires <duration>", "accepted for so long, such as 90d").argParser(duration))
    .addOption(new Option("--json", "as JSON").default(false))
    .addHelpText("after", createHelp)
    .action(async (name: string, flags: CreateFlags) => {
      const { createKey } = await import("../keys/keys.ts");
      await createKey(loadConfig(process.env), name, flags);
    });
}

function keyName(text: string): string {
  if (isKeyName(text)) return text;
  throw new InvalidArgumentError(
    "It must begin with a letter or digit, and have at most 60 letters, digits, . _ and -",
  );
}

function actions(text: string): ApiAction[] {
  return text.split(",").map((name) => {
    const found = API_ACTIONS.find((action) => action === name.trim());
    if (found === undefined) throw new InvalidArgumentError(`It must be some of ${API_ACTIONS.join(", ")}, by comma.`);
    return found;
  });
}

function repeated(flags: string, description: string): Option {
  const add = (text: string, held: readonly string[]) => [...held, text];
  return new Option(flags, description).argParser<readonly string[]>(add).default([], "everything");
}
