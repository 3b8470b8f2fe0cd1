import { saleViews } from "../../sale-views.ts";
import { nestedSale, writtenSale } from "../schemas/nested-sale.ts";

/** The views of `sale` over the same events in objects. */

export const [nestedSalesByRegion, nestedSalesByProduct, nestedSalesByChannel, nestedLargeSales, nestedSalesByHour] =
  saleViews(nestedSale, "nested-");

export const [
  writtenSalesByRegion,
  writtenSalesByProduct,
  writtenSalesByChannel,
  writtenLargeSales,
  writtenSalesByHour,
] = saleViews(writtenSale, "written-");
