/** What the gateway makes of a client's request before it picks a server; the same for requests and upgrades. */
import type { TLSSocket } from 'node:tls'
import type { PickRequest } from './picker.ts'
import type { ClientRequest } from './reply.ts'
import { addForwarded, clientAddress, readRequestHead, type RequestHead } from './request-head.ts'
import { pathOf } from './target.ts'
import { plainAddress, type Trust } from './trust.ts'

export interface RequestFacts {
  readonly head: RequestHead
  readonly path: string
  readonly picked: PickRequest
}

const METHOD = /^[A-Za-z!#$%&'*+.^_`|~-]{1,32}$/
/** node:http lets none of these through; HTTP/2 shall not either. */
const UNSAFE = /[^\t\u0020-\u007e\u0080-\u00ff]/

/** A text says why the request is refused with 400. */
export function readRequest(request: ClientRequest, trust: Trust): RequestFacts | string {
  const { socket } = request
  const address = plainAddress(socket.remoteAddress ?? '')
  const trustForwarded = trust.peer(address)
  const head = readRequestHead(request.rawHeaders, trustForwarded)
  if (head.problem !== undefined) return head.problem
  if (request.httpVersionMajor === 2) {
    if (!METHOD.test(request.method ?? '') || head.headers.some((text) => UNSAFE.test(text)))
      return 'The request cannot be forwarded as HTTP/1.1.'
    if (head.host === undefined) return 'Send one Host header.'
  }
  const path = pathOf(request.url ?? '', head.host)
  if (path === undefined) return 'The request target must be a path on this host.'
  const facts = { address, trustForwarded, hop: trust.hop, protocol: (socket as TLSSocket).encrypted ? 'https' : 'http' } as const
  const picked = { address: clientAddress(head, facts), cookie: head.cookie, hasToken: head.hasToken }
  addForwarded(head, facts)
  return { head, path, picked }
}
