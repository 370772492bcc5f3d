/** What a client's header fields say, and which of them go on to a server. */
export interface RequestHead {
  /** Names and values in turn, as received, less what belongs to this hop only and what the gateway says itself. */
  readonly headers: string[]
  readonly host: string | undefined
  /** All Cookie fields. */
  readonly cookie: string | undefined
  readonly hasBody: boolean
  readonly upgrade: string | undefined
  /** Sent by the client or, when those are trusted, by a proxy in front. */
  readonly forwardedFor: string | undefined
  readonly forwardedProto: string | undefined
  readonly forwardedHost: string | undefined
  /** Set when the request must be refused with 400. */
  readonly problem: string | undefined
}

/** The way of this request to the gateway. */
export interface ForwardedFacts {
  readonly address: string
  readonly trustForwarded: boolean
}

/** Never removed on a client's wish (`Connection: host`): the request would mean something else to the server. */
const KEPT = new Set(['host', 'content-length', 'content-type', 'cookie', 'authorization', 'origin'])
const NAMED_MAX = 64

/**
 * Reads raw header fields. Hop-by-hop fields (RFC 9110, section 7.6.1) and those that `Connection` names are dropped here, before
 * the gateway adds its own: a client can therefore strip nothing that the gateway says.
 */
export function readRequestHead(raw: readonly string[], trustForwarded: boolean): RequestHead {
  const named = namedByConnection(raw)
  const headers: string[] = []
  let host: string | undefined
  let cookie: string | undefined
  let upgrade: string | undefined
  let forwardedFor: string | undefined
  let forwardedProto: string | undefined
  let forwardedHost: string | undefined
  let hasBody = false
  let problem = named === undefined ? undefined : named.size > NAMED_MAX ? 'Connection names too many header fields.' : undefined
  for (let at = 0; at < raw.length; at += 2) {
    const name = (raw[at] as string).toLowerCase()
    const value = raw[at + 1] as string
    switch (name) {
      case 'connection':
      case 'keep-alive':
      case 'proxy-connection':
      case 'proxy-authorization':
      case 'te':
      case 'trailer':
      case 'expect':
      case 'http2-settings':
      case 'x-holdfast-route':
        continue
      case 'transfer-encoding':
        hasBody = true
        continue
      case 'upgrade':
        upgrade ??= value.trim().toLowerCase()
        continue
      case 'x-forwarded-for':
        forwardedFor = forwardedFor === undefined ? value : `${forwardedFor}, ${value}`
        continue
      case 'x-forwarded-proto':
        forwardedProto = value
        continue
      case 'x-forwarded-host':
        forwardedHost = value
        continue
      case 'host':
        if (host !== undefined) problem = 'Send one Host header.'
        host = value
        break
      case 'content-length':
        if (Number(value) > 0) hasBody = true
        break
      case 'cookie':
        cookie = cookie === undefined ? value : `${cookie}; ${value}`
        break
      default:
        if (!trustForwarded && (name === 'forwarded' || name === 'x-real-ip' || name.startsWith('x-forwarded-'))) continue
        if (named?.has(name) === true) continue
    }
    headers.push(raw[at] as string, value)
  }
  return { headers, host, cookie, hasBody, upgrade, forwardedFor, forwardedProto, forwardedHost, problem }
}

function namedByConnection(raw: readonly string[]): Set<string> | undefined {
  let named: Set<string> | undefined
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at] as string
    if (name.length !== 10 || name.toLowerCase() !== 'connection') continue
    const value = (raw[at + 1] as string).toLowerCase()
    if (value === 'keep-alive' || value === 'close') continue
    named ??= new Set()
    for (const token of value.split(',', NAMED_MAX + 1)) if (!KEPT.has(token.trim())) named.add(token.trim())
  }
  return named
}

/**
 * Adds `X-Forwarded-For`, `-Proto` and `-Host`. What the client sent under these names is replaced; only when a proxy in front is
 * trusted is its list continued and its protocol and host kept.
 */
export function addForwarded(head: RequestHead, { address, trustForwarded }: ForwardedFacts): void {
  const before = trustForwarded ? head.forwardedFor : undefined
  head.headers.push('x-forwarded-for', before === undefined ? address : `${before}, ${address}`)
  head.headers.push('x-forwarded-proto', (trustForwarded ? head.forwardedProto : undefined) ?? 'http')
  const host = (trustForwarded ? head.forwardedHost : undefined) ?? head.host
  if (host !== undefined) head.headers.push('x-forwarded-host', host)
}

/** The visitor's address: the peer's, or the one a trusted proxy in front appended last. */
export function clientAddress(head: RequestHead, { address, trustForwarded }: ForwardedFacts): string {
  if (!trustForwarded || head.forwardedFor === undefined) return address
  return head.forwardedFor.slice(head.forwardedFor.lastIndexOf(',') + 1).trim()
}
