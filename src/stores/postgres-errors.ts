import type { SessionError } from '../errors.ts'
import { unavailable } from './availability.ts'

const UNTRUSTED = 'its certificate is not trusted: give its authority as { url, ssl: { ca } } or with sslrootcert=FILE in the url'
const CREDENTIALS = 'correct the user and password in the url of postgresStore, and see pg_hba.conf'

/** By SQLSTATE (PostgreSQL, "Error Codes"), by Node's codes, and by words of our own. */
const ADVICE: Readonly<Record<string, string>> = {
  '28P01': CREDENTIALS,
  '28000': CREDENTIALS,
  'no password': 'it wants a password: put it into the url of postgresStore',
  '3D000': 'there is no such database: create it, or correct the url of postgresStore',
  '42501': 'its user lacks a permission: grant SELECT, INSERT, UPDATE and DELETE on the table',
  '25006': 'it is read-only, like a replica: name the primary',
  '42P01': 'the table is missing: call ready() again, or restore it',
  '42703': 'the table does not have the columns of Holdfast: choose another name with the option table',
  '40001': 'too many writers at once: try again',
  '40P01': 'too many writers at once: try again',
  '53100': 'its disk is full: make room',
  '53200': 'it is out of memory: look at its settings and load',
  '53300': 'it has too many connections: raise max_connections, or put a pooler in front',
  '54000': 'its NOTIFY queue may be full: look for a session that listens within a long transaction',
  '55P03': 'a lock was held too long: look for a long transaction on the table',
  '57014': 'the statement took too long: look for a long transaction on the table, or its load',
  '57P01': 'it was shut down or ended the connection: start it',
  '57P02': 'it crashed and restarts: wait, and see its log',
  '57P03': 'it is starting or shutting down: wait',
  '08P01': 'the server, or the pooler in front, does not take what the driver sent: see its log',
  'no answer': 'it does not answer: check its load, or whether it is stopped',
  'no TLS': 'it does not offer TLS: turn on ssl there, or take sslmode out of the url',
  'pool ended': 'the application ended the pool that it gave to postgresStore: close the sessions first',
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  CERT_HAS_EXPIRED: 'its certificate has expired: renew it',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host: correct the host in the url',
}

/** The driver says these in words only. */
const WORDS: readonly (readonly [RegExp, string])[] = [
  [/timeout/i, 'no answer'],
  [/does not support SSL|establishing an SSL/, 'no TLS'],
  [/after calling end on the pool/, 'pool ended'],
  [/password must be a (non-empty )?string|password must be/, 'no password'],
  [/Connection terminated|not queryable|connection error/, 'connection closed'],
]

/** Codes and words of our own only: messages can quote what was sent, credentials included. */
export function problemOf(error: unknown): string {
  const { code, message, errors, constructor } = (error ?? {}) as Record<'code' | 'message' | 'errors' | 'constructor', unknown>
  if (typeof code === 'string' && /^[A-Z0-9_]+$/.test(code)) return code
  if (Array.isArray(errors) && errors.length > 0) return problemOf(errors[0])
  const word = WORDS.find(([pattern]) => typeof message === 'string' && pattern.test(message))?.[1]
  return word ?? String((constructor as { name?: unknown } | undefined)?.name ?? 'error')
}

export function postgresError(shown: string, problem: string): SessionError {
  const advice = ADVICE[problem] ?? 'start it, or correct the url of postgresStore'
  return unavailable(`cannot use PostgreSQL at ${shown} (${problem}): ${advice}`)
}

/** What is wrong with the table or the server, found by looking. */
export function unfit(shown: string, advice: string): SessionError {
  return unavailable(`cannot use PostgreSQL at ${shown}: ${advice}`)
}

/** Nothing was changed, and the same statement may succeed: other writers were quicker. */
export function isLostRace(error: unknown): boolean {
  return ['40001', '40P01'].includes(problemOf(error))
}

/** A pooler moved us to another connection, or somebody threw the prepared statements away: nothing was executed. */
export function isUnprepared(error: unknown): boolean {
  return ['26000', '42P05'].includes(problemOf(error))
}

/** The server itself refused one statement: the connection, and other statements, are well. */
export function isStatementsOwn(error: unknown): boolean {
  return /^(22|23|40|42(?!501|P01|703)|53(?!300)|54|55|57014)/.test(problemOf(error))
}
