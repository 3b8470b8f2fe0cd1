import { avg, count, distinct, max, min, sql, sum, view } from "tideline";
import type { Stream } from "../../core/contract/stream.ts";

/**
 * The five views of the throughput benchmark, of a stream with the fields of `sale`; `prefix` begins their names. The
 * first two are what other systems were measured with on the same kind of machine.
 */
export function saleViews(stream: Stream, prefix = "") {
  const named = (name: string) => `${prefix}${name}`;
  const every = "1 minute";
  const extremes = { smallest: min(sql`amount_cents`), largest: max(sql`amount_cents`) };
  const sold = { sales: count(), cents: sum(sql`amount_cents`) };
  return [
    view(named("sales-by-region"), {
      stream,
      by: { region: sql`region` },
      every,
      measures: { ...sold, ...extremes, buyers: distinct(sql`user_id`) },
    }),
    view(named("sales-by-product"), { stream, by: { product: sql`product` }, every, measures: sold }),
    view(named("sales-by-channel"), {
      stream,
      by: { channel: sql`channel` },
      every,
      measures: { sales: count(), units: sum(sql`quantity`), basket: avg(sql`amount_cents`) },
    }),
    view(named("large-sales"), {
      stream,
      where: sql`amount_cents >= 50000`,
      by: { region: sql`region`, channel: sql`channel` },
      every,
      measures: { sales: count(), largest: extremes.largest },
    }),
    view(named("sales-by-hour"), {
      stream,
      by: { region: sql`region` },
      every: "1 hour",
      measures: { ...sold, units: sum(sql`quantity`) },
    }),
  ] as const;
}
