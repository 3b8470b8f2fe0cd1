import { count, sql, sum, view } from "tideline";
import { partedSale } from "../schemas/parted-sale.ts";

export const partedSales = view("parted-sales", {
  stream: partedSale,
  by: { region: sql`region` },
  every: "1 minute",
  measures: { sales: count(), cents: sum(sql`amount_cents`) },
});
