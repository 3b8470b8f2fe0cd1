import type { Joined } from "../../core/definition/joined.ts";
import type { JoinedSource } from "../../core/query/tables/joined-sql.ts";
import type { JoinedColumn } from "../../store/definitions/joined-columns.ts";
import type { DescribedView } from "./served-views.ts";

/** A joined table with the definitions of its tables that are served now. */
export interface DescribedJoin {
  readonly definition: Joined;
  readonly key: readonly string[];
  /** By the name that the definition has for it. */
  readonly tables: ReadonlyMap<string, DescribedView>;
  /** The columns of the tables that its expressions read. */
  readonly source: JoinedSource;
  readonly columns: ReadonlyMap<string, JoinedColumn>;
}
