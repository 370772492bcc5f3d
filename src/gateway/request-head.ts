import type { Trust } from './trust.ts'

/** What a client's header fields say, and which of them go on to a server. */
export interface RequestHead {
  /** Names and values in turn, as received, less what belongs to this hop only and what the gateway says itself. */
  readonly headers: string[]
  readonly host: string | undefined
  /** All Cookie fields. */
  readonly cookie: string | undefined
  readonly hasBody: boolean
  readonly hasLength: boolean
  /** Carries a session in a header. */
  readonly hasToken: boolean
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
  /** The peer may say whom it speaks for. */
  readonly trustForwarded: boolean
  /** The visitor's address is the last one in the list that is no proxy's. */
  readonly hop?: Trust['hop']
  /** Default `http`. */
  readonly protocol?: 'http' | 'https'
}

/** Never removed on a client's wish (`Connection: host`): the request would mean something else to the server. */
const KEPT = new Set(['host', 'content-length', 'content-type', 'cookie', 'authorization', 'origin', 'x-session-token'])
const NAMED_MAX = 64
const ADDRESS = /^[0-9A-Fa-f.:]{2,45}$/

/**
 * Reads raw header fields. Hop-by-hop fields (RFC 9110, section 7.6.1) and those that `Connection` names are dropped here, before
 * the gateway adds its own: a client can therefore strip nothing that the gateway says. Of HTTP/2, `:authority` is the Host and
 * Cookie fields become one (RFC 9113, sections 8.3.1 and 8.2.3).
 */
export function readRequestHead(raw: readonly string[], trustForwarded: boolean): RequestHead {
  const named = namedByConnection(raw)
  const headers: string[] = []
  let host: string | undefined
  let cookie: string | undefined
  let cookieAt = -1
  let upgrade: string | undefined
  let forwardedFor: string | undefined
  let forwardedProto: string | undefined
  let forwardedHost: string | undefined
  let hasBody = false
  let hasLength = false
  let hasToken = false
  let problem = named === undefined ? undefined : named.size > NAMED_MAX ? 'Connection names too many header fields.' : undefined
  for (let at = 0; at < raw.length; at += 2) {
    const original = raw[at] as string
    const name = original.toLowerCase()
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
      case 'x-holdfast-load':
      case ':method':
      case ':path':
      case ':scheme':
        continue
      case 'transfer-encoding':
        if (value.trim().toLowerCase() !== 'chunked') problem = 'The body has another transfer coding than chunked.'
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
      case ':authority':
        if (host !== undefined && host !== value) problem = 'Send one Host header.'
        host = value
        headers.push('host', value)
        continue
      case 'host':
        // HTTP/2 may send both, if they agree.
        if (host !== undefined && raw.includes(':authority') && host === value) continue
        if (host !== undefined) problem = 'Send one Host header.'
        host = value
        break
      case 'content-length':
        if (Number(value) > 0) hasBody = true
        hasLength = true
        break
      case 'cookie':
        if (cookie === undefined) {
          cookie = value
          cookieAt = headers.length + 1
          break
        }
        cookie = `${cookie}; ${value}`
        headers[cookieAt] = cookie
        continue
      case 'x-session-token':
        hasToken = true
        break
      default:
        if (!trustForwarded && (name === 'forwarded' || name === 'x-real-ip' || name.startsWith('x-forwarded-'))) continue
        if (named?.has(name) === true) continue
    }
    headers.push(original, value)
  }
  return { headers, host, cookie, hasBody, hasLength, hasToken, upgrade, forwardedFor, forwardedProto, forwardedHost, problem }
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
export function addForwarded(head: RequestHead, { address, trustForwarded, protocol = 'http' }: ForwardedFacts): void {
  const before = trustForwarded ? head.forwardedFor : undefined
  head.headers.push('x-forwarded-for', before === undefined ? address : `${before}, ${address}`)
  head.headers.push('x-forwarded-proto', (trustForwarded ? head.forwardedProto : undefined) ?? protocol)
  const host = (trustForwarded ? head.forwardedHost : undefined) ?? head.host
  if (host !== undefined) head.headers.push('x-forwarded-host', host)
}

/** The visitor's address: the peer's, or the last one that a trusted proxy in front appended and that is no proxy's. */
export function clientAddress(head: RequestHead, { address, trustForwarded, hop }: ForwardedFacts): string {
  if (!trustForwarded || head.forwardedFor === undefined) return address
  let client = address
  for (let end = head.forwardedFor.length; end > 0; ) {
    const comma = head.forwardedFor.lastIndexOf(',', end - 1)
    const one = head.forwardedFor.slice(comma + 1, end).trim()
    if (!ADDRESS.test(one)) return client
    client = one
    if (hop?.(one) !== true) return client
    end = comma
  }
  return client
}

const LENGTH_WANTED = new Set(['POST', 'PUT', 'PATCH'])

/** Request line and fields as they go to a server (RFC 9112). */
export function requestText(method: string, path: string, head: RequestHead): string {
  const { headers, hasBody, hasLength } = head
  let text = `${method} ${path} HTTP/1.1\r\n`
  for (let at = 0; at < headers.length; at += 2) text += `${headers[at]}: ${headers[at + 1]}\r\n`
  if (hasBody && !hasLength) text += 'transfer-encoding: chunked\r\n'
  // RFC 9110, section 8.6.
  else if (!hasLength && LENGTH_WANTED.has(method)) text += 'content-length: 0\r\n'
  return `${text}\r\n`
}
