import { saleViews } from "../sale-views.ts";
import { sale } from "../schemas/sale.ts";

/** Five views of the throughput benchmark. */
export const [salesByRegion, salesByProduct, salesByChannel, largeSales, salesByHour] = saleViews(sale);
