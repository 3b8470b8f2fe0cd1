/** The reason why a record is not an event, with the field. */
export class WireError extends Error {}
