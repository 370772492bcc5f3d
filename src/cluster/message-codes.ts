/** Codes of one byte in messages: their index is what is sent, so that new ones come last. */

export const TOMBSTONE_REASONS = ['destroyed', 'replaced', 'revoked'] as const
export type TombstoneReason = (typeof TOMBSTONE_REASONS)[number]

export const SERVER_STATES = ['joining', 'ready', 'draining', 'leaving'] as const
export type ServerState = (typeof SERVER_STATES)[number]

/** Who owns the session from here on (affinity). */
export const CLAIMS = ['none', 'sender', 'receiver'] as const
export type Claim = (typeof CLAIMS)[number]

export const COMPARE_OUTCOMES = ['applied', 'conflict', 'destroyed', 'replaced', 'unknown', 'failed'] as const
export type CompareOutcome = (typeof COMPARE_OUTCOMES)[number]
