import { type Command, Option } from "commander";
import { instant, percent, positiveNumber, wholeNumberFrom } from "../../../cli/terminal/flags.ts";
import type { OrdersFlags } from "./simulate-orders.ts";
import type { ShopFlags } from "./simulate-shop.ts";

const shopHelp = `
A shop sells in four regions by their own clocks. What customers do becomes user-activity; each order lives through
order-created, inventory-reserved, payment-processed and order-completed, or ends in order-cancelled. The same seed
makes the same events.

With --from it begins in the past: that is sent as fast as Kafka takes it, and once the present is reached events come
as they happen. Late records arrive ten seconds to an hour after their event time. Malformed ones come beside good ones,
and go to the dead letters.

Examples:
  $ tideline simulate shop                                     five orders a second until Ctrl+C
  $ tideline simulate shop --duplicates 1% --late 5% --malformed 0.1% --avro 50% --bursts
  $ tideline simulate shop --rate 2 --from 2026-01-01T00:00:00Z --count 100000
  $ tideline simulate shop --mode file --outfolder shop --count 1000 --seed 7
`;

const ordersHelp = `
Examples:
  $ tideline simulate orders                                   200 orders a second until Ctrl+C
  $ tideline simulate orders --rate 50000 --count 1000000      a million, twenty seconds long
  $ tideline simulate orders --mode file --outfile orders.ndjson --count 10000 --seed 7
`;

/** Adds `tideline simulate`. */
export function registerSimulate(program: Command): void {
  const simulate = program
    .command("simulate")
    .description("send simulated events")
    .addHelpText("after", "\nExample:\n  $ tideline simulate shop\n");
  registerShop(simulate);
  registerOrders(simulate);
}

function registerShop(simulate: Command): void {
  const share = (flag: string, description: string) =>
    new Option(`${flag} <percent>`, description).default(0, "0%").argParser(percent);
  simulate
    .command("shop")
    .description("a whole shop: visits, orders and what becomes of them")
    .addOption(new Option("--rate <n>", "orders a second, on average over a day").default(5).argParser(positiveNumber))
    .addOption(new Option("--count <n>", "end after n orders (default: until Ctrl+C)").argParser(wholeNumberFrom(0)))
    .addOption(new Option("--seed <n>", "which shop (default: another each time)").argParser(wholeNumberFrom(0)))
    .addOption(new Option("--from <time>", "when the first events happen (default: now)").argParser(instant))
    .addOption(
      new Option("--bursts", "every five minutes ten times as many visitors for twenty seconds").default(false),
    )
    .addOption(share("--duplicates", "records that are delivered twice"))
    .addOption(share("--late", "records that arrive late"))
    .addOption(share("--malformed", "records that no contract accepts"))
    .addOption(share("--avro", "records in Avro, the others in JSON"))
    .addOption(
      new Option("--mode <where>", "send to Kafka, or write files").choices(["kafka", "file"]).default("kafka"),
    )
    .addOption(new Option("--outfolder <path>", "with --mode file: gets a file per stream, one JSON event a line"))
    .addOption(new Option("--json", "report as JSON").default(false))
    .addHelpText("after", shopHelp)
    .action(async (flags: ShopFlags, command: Command) => {
      const { simulateShop } = await import("./simulate-shop.ts");
      await simulateShop(flags, command);
    });
}

function registerOrders(simulate: Command): void {
  simulate
    .command("orders")
    .description("completed orders alone, at any rate; the same seed makes the same orders")
    .addOption(new Option("--rate <n>", "orders a second").default(200).argParser(positiveNumber))
    .addOption(new Option("--count <n>", "end after n orders (default: until Ctrl+C)").argParser(wholeNumberFrom(0)))
    .addOption(new Option("--seed <n>", "which orders (default: others each time)").argParser(wholeNumberFrom(0)))
    .addOption(
      new Option("--mode <where>", "send to Kafka, or write a file").choices(["kafka", "file"]).default("kafka"),
    )
    .addOption(new Option("--outfile <path>", "with --mode file: the file, one JSON event a line"))
    .addOption(
      new Option("--from <time>", "with --mode file: when the first order was completed (default: now)").argParser(
        instant,
      ),
    )
    .addOption(new Option("--json", "report as JSON").default(false))
    .addHelpText("after", ordersHelp)
    .action(async (flags: OrdersFlags, command: Command) => {
      const { simulateOrders } = await import("./simulate-orders.ts");
      await simulateOrders(flags, command);
    });
}
