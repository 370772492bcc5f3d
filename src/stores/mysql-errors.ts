/** What the error numbers of MySQL and MariaDB (https://mariadb.com/kb/en/mariadb-error-code-reference/) ask us or the reader to do. */

/**
 * `lost`: the connection is of no use any more; `again`: the transaction was undone, worth a retry; `refused`: the statement was, for
 * a reason the row can tell; `missing`: there is no such table; `other`: the database said no.
 */
export type Failure = 'lost' | 'again' | 'duplicate' | 'refused' | 'missing' | 'other'

const KINDS: ReadonlyMap<number, Failure> = new Map([
  ...kind('again', 1020, 1205, 1213),
  ...kind('duplicate', 1062),
  // NULL where none may be, numbers out of range, JSON that does not parse.
  ...kind('refused', 1048, 1264, 1292, 1367, 1690, 3140, 3141, 3146, 4038),
  ...kind('missing', 1146),
  // The server ends the connection after these.
  ...kind('lost', 1040, 1053, 1077, 1079, 1152, 1153, 1158, 1159, 1160, 1161, 1184, 1927, 1203, 3169, 4031),
])

const ADVICE: ReadonlyMap<number | string, string> = new Map<number | string, string>([
  ...both(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'], 'start it, or correct the url of mysqlStore'),
  ['ETIMEDOUT', 'nothing answers there: start it, or correct the url of mysqlStore'],
  ['no answer', 'it accepted the command but did not answer: check its load, rows that stay locked, or whether it is stopped'],
  ['no connection', 'it gave no connection within the deadline: check its load, whether it is stopped, or give a larger pool'],
  ['too many waiting', 'more operations wait for a connection than it answers: check its load, or add servers'],
  ...both([1045, 1698], 'correct the user and password in the url of mysqlStore'),
  ...both([1044, 1049, 1046], 'create the database and let this user use it, or correct the url of mysqlStore'),
  ...both([1040, 1203, 1226], 'it has no more connections for this user: raise max_connections, or run fewer servers'),
  ...both([1129], 'it blocks this host after too many broken connections: run FLUSH HOSTS there'),
  ...both([1142, 1143, 1227, 1410], 'its user lacks permissions'),
  ...both([1290, 1792, 1836], 'it is read-only, like a replica: name the primary'),
  ...both([1021, 1114, 1041, 1037], 'its disk or memory is full: make room'),
  ...both([1205], 'a row stayed locked: look for a long transaction on the table'),
  ...both([1213, 1020], 'too many writers were in each other’s way: try again'),
  ...both([1317, 1927, 1053], 'the command was ended there: try again'),
  ...both([1054], 'the table does not have the columns of Holdfast: choose another name with the option table'),
  ...both(['HANDSHAKE_NO_SSL_SUPPORT'], 'it does not speak TLS: configure its certificate, or remove ssl from the url'),
  ...both([3159, 4174], 'it demands TLS: add ?ssl=true to the url'),
])

const TLS_CODE = /^(CERT_|ERR_TLS|ERR_SSL|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HOSTNAME_|HANDSHAKE_SSL)/

const BROKEN = /^(PROTOCOL_|ECONNRESET|EPIPE|connection closed|ER_(CONNECTION_KILLED|SERVER_SHUTDOWN|NET_|(NEW_)?ABORTING_))/

/** One connection broke, which may say nothing about the server. */
export function isBroken(error: unknown): boolean {
  return failureOf(error) === 'lost' && BROKEN.test(problemOf(error))
}

export function failureOf(error: unknown): Failure {
  const { errno, sqlState, code } = (error ?? {}) as { errno?: unknown; sqlState?: unknown; code?: unknown }
  const known = typeof errno === 'number' ? KINDS.get(errno) : undefined
  if (known !== undefined) return known
  // What the server itself says has a state or its number; all else is about the connection.
  return typeof sqlState === 'string' || (typeof errno === 'number' && errno >= 1_000 && typeof code === 'string') ? 'other' : 'lost'
}

/** A word without anything secret: messages of the driver can quote what was sent. */
export function problemOf(error: unknown): string {
  const { code, errno, errors } = (error ?? {}) as { code?: unknown; errno?: unknown; errors?: unknown }
  if (typeof code === 'string' && /^[A-Z][A-Z0-9_]*$/.test(code)) return code
  if (Array.isArray(errors) && errors.length > 0) return problemOf(errors[0])
  return typeof errno === 'number' ? `error ${errno}` : 'connection closed'
}

export function adviceOf(error: unknown): string {
  const { errno } = (error ?? {}) as { errno?: unknown }
  const problem = typeof error === 'string' ? error : problemOf(error)
  const found = (typeof errno === 'number' ? ADVICE.get(errno) : undefined) ?? ADVICE.get(problem)
  if (found !== undefined) return found
  if (TLS_CODE.test(problem)) return 'its certificate is not trusted: give its authority with { url, ssl: { ca } }'
  return failureOf(error) === 'lost' ? 'the connection broke: check the server and the network' : 'check its log'
}

function kind(failure: Failure, ...numbers: number[]): [number, Failure][] {
  return numbers.map((number) => [number, failure])
}

function both<K>(keys: readonly K[], advice: string): [K, string][] {
  return keys.map((key) => [key, advice])
}
