import type { Report } from "tideline";
import { REPORT_VIEWS, reportNumbers } from "./numbers.ts";
import { productsCsv } from "./products-csv.ts";
import { summaryOf } from "./summary.ts";

/**
 * The shop's daily report: what was sold, compared with the day and the week before, and the products that sold best.
 */
export const report: Report = {
  views: REPORT_VIEWS,
  async make(identity, source) {
    // Charts and number formats take long to load, and every worker loads this file.
    const { pageOf } = await import("./page.ts");
    const numbers = await reportNumbers(identity.pin, source);
    const summary = summaryOf(identity, numbers);
    return {
      page: pageOf(identity, numbers, summary),
      files: {
        "summary.json": `${JSON.stringify(summary, null, 1)}\n`,
        "top-products.csv": productsCsv(numbers.products, numbers.units.revenue ?? ""),
      },
      counts: { orders: Number(numbers.sales.day.orders ?? 0), products: numbers.products.length },
    };
  },
};
