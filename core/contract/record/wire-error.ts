/** Why a record is not an event, by field. */
export class WireError extends Error {}
