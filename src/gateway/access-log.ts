/** What is told of a request when it is over: no ids, no cookies, no query. */
export interface AccessEntry {
  readonly method: string
  /** With its query: see `accessLine`. */
  readonly path: string
  /** 499: the client left before its answer. */
  readonly status: number
  /** Of the answer's body. */
  readonly bytes: number
  /** By `performance.now`. */
  readonly startedAt: number
  /** The visitor's. */
  readonly address: string
  readonly server: string | undefined
  readonly httpVersion: string
}

/** One line of the access log. */
export interface AccessLine {
  /** Unix ms of the end. */
  readonly at: number
  readonly address: string
  readonly method: string
  /** Without query: it may hold secrets. */
  readonly path: string
  readonly http: string
  readonly status: number
  readonly bytes: number
  readonly ms: number
  readonly server: string | null
}

const PATH_MAX = 512

export function accessLine(entry: AccessEntry): AccessLine {
  const { address, method, status, bytes, server } = entry
  const path = (entry.path.split(/[?#;]/, 1)[0] as string).slice(0, PATH_MAX)
  const ms = Math.round((performance.now() - entry.startedAt) * 10) / 10
  return { at: Date.now(), address, method, path, http: entry.httpVersion, status, bytes, ms, server: server ?? null }
}
