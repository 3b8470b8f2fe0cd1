/** Why a record is no event, by field. */
export class WireError extends Error {}
