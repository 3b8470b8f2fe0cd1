import { stringify } from "csv-stringify/sync";
import type { Product } from "./products.ts";

/**
 * The products as CSV (RFC 4180, CRLF), the best first. Amounts are in the view's own unit. What a spreadsheet would
 * run as a formula gets an apostrophe in front: product names are what producers sent.
 */
export function productsCsv(products: readonly Product[], unit: string): string {
  const rows = products.map(({ sku, units, revenue }, index) => [index + 1, sku, integer(units), integer(revenue)]);
  return stringify(rows, {
    header: true,
    columns: ["rank", "sku", "units", unit === "" ? "revenue" : `revenue_${unit}`],
    record_delimiter: "windows",
    escape_formulas: true,
  });
}

/** Long integers come as text, and are numbers anyway. */
function integer(value: number | string): bigint {
  return BigInt(value);
}
