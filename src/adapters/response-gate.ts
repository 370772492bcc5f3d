// oxlint-disable no-underscore-dangle -- the names are node's
/**
 * Makes an answer wait until its session is stored. The head is decided by node's own `_storeHeader`, which every way of
 * answering goes through and which refuses what is invalid: one property a response, and answers that only read pass straight on.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { SessionError } from '../errors.ts'
import type { CommitResult, OpenSession } from '../types.ts'
import { answerTo, type ErrorPolicy, renderAnswer } from './commit-error.ts'
import { amendHead, mergedValue } from './head.ts'
import { changeHead, holdOutput, passOutput, replaceOutput, sendOutput } from './held-output.ts'
import { type NodeResponse, nodeResponse, setDecidedHeader } from './node-response.ts'

export type NodeErrorPolicy = ErrorPolicy<IncomingMessage>
/** One request's session as far as an answer is concerned. */
export type AnsweredSession = Omit<OpenSession<never>, 'session'>

const GATE: unique symbol = Symbol('holdfast.gate')
const CONNECTION_CLOSES = /\r\nconnection: *close\r\n/i

interface GatedResponse extends NodeResponse {
  [GATE]: Gate
}

interface Mounted {
  readonly sessions: object
  readonly open: AnsweredSession
}

interface Gate {
  phase: 'undecided' | 'committing' | 'decided'
  readonly mounted: Mounted[]
  readonly policy: NodeErrorPolicy
  readonly storeHeader: NodeResponse['_storeHeader']
  closed: boolean
}

/** A middleware before has opened this request's session already. */
export function isGated(response: ServerResponse, sessions: object): boolean {
  return (response as Partial<GatedResponse>)[GATE]?.mounted.some((each) => each.sessions === sessions) ?? false
}

/** From here on the answer waits for `open` to be stored. Throws CONFIG_INVALID for a response that is not HTTP/1. */
export function gateResponse(response: ServerResponse, sessions: object, open: AnsweredSession, policy: NodeErrorPolicy): void {
  const before = (response as Partial<GatedResponse>)[GATE]
  if (before !== undefined) {
    before.mounted.push({ sessions, open })
    return
  }
  const gated = nodeResponse(response) as GatedResponse
  gated[GATE] = { phase: 'undecided', mounted: [{ sessions, open }], policy, storeHeader: gated._storeHeader, closed: false }
  gated._storeHeader = storeHeader
  gated.on('close', onClose)
}

// ------------------------------------------------------------------ the head and the end of an answer

function storeHeader(this: GatedResponse, firstLine: string, headers: unknown): void {
  const gate = this[GATE]
  if (gate.phase !== 'undecided') return gate.storeHeader.call(this, firstLine, headers)
  if (!needsCommit(gate)) {
    gate.storeHeader.call(this, firstLine, headers)
    return settle(this, gate)
  }
  holdOutput(this)
  try {
    gate.storeHeader.call(this, firstLine, headers)
  } catch (error) {
    passOutput(this)
    throw error
  }
  gate.phase = 'committing'
  void commitThenSend(this, gate)
}

function onClose(this: GatedResponse): void {
  const gate = this[GATE]
  gate.closed = true
  if (gate.phase === 'committing') return
  if (gate.phase === 'undecided') commitAtLateEnd(this, gate)
  endAll(gate)
}

function endAll(gate: Gate): void {
  for (const { open } of gate.mounted) open.end()
}

// ------------------------------------------------------------------ storing

function needsCommit(gate: Gate): boolean {
  for (const { open } of gate.mounted) if (open.needsCommit()) return true
  return false
}

function settle(response: GatedResponse, gate: Gate): void {
  gate.phase = 'decided'
  for (const { open } of gate.mounted) {
    amend(response, open.settle())
    open.headSent()
  }
}

async function commitAll(gate: Gate): Promise<CommitResult> {
  const [first, ...more] = gate.mounted as [Mounted, ...Mounted[]]
  if (more.length === 0) return first.open.commit()
  const all: CommitResult = { cookies: [], headers: [] }
  for (const { open } of [first, ...more]) {
    const { cookies, headers } = open.needsCommit() ? await open.commit() : open.settle()
    all.cookies.push(...cookies)
    all.headers.push(...headers)
  }
  return all
}

async function commitThenSend(response: GatedResponse, gate: Gate): Promise<void> {
  let send: () => void
  try {
    const result = await commitAll(gate)
    send = () => {
      amend(response, result)
      sendOutput(response)
    }
  } catch (error) {
    send = () => sendFailure(response, gate, error)
  }
  gate.phase = 'decided'
  for (const { open } of gate.mounted) open.headSent()
  try {
    send()
  } catch (error) {
    // A listener of the application threw: it ends where it would have ended without us.
    process.nextTick(() => {
      throw error
    })
  }
  if (gate.closed) endAll(gate)
}

/** Nothing of the handler's answer goes out. */
function sendFailure(response: GatedResponse, gate: Gate, error: unknown): void {
  if (gate.closed) reportUnseen(gate, error)
  const { req: request } = response
  const answer = answerTo(error, request, gate.policy)
  response.statusCode = answer.status
  if (CONNECTION_CLOSES.test(response._header as string)) response._last = true
  replaceOutput(response, (closes) => renderAnswer(answer, request.method, connectionLines(response, closes)))
}

function connectionLines(response: GatedResponse, closes: boolean): string {
  if (closes) return 'Connection: close\r\n'
  const seconds = Math.floor(response._keepAliveTimeout / 1000)
  return `Connection: keep-alive\r\n${seconds > 0 ? `Keep-Alive: timeout=${seconds}\r\n` : ''}`
}

/** The client left first, so node drops the answer before it decides a head: what the handler did is stored all the same. */
function commitAtLateEnd(response: GatedResponse, gate: Gate): void {
  const end = response.end
  response.end = function lateEnd(this: GatedResponse, ...rest: unknown[]): GatedResponse {
    if (gate.phase === 'undecided' && needsCommit(gate)) {
      gate.phase = 'decided'
      commitAll(gate).catch((error: unknown) => reportUnseen(gate, error))
    }
    return Reflect.apply(end, this, rest) as GatedResponse
  } as typeof response.end
}

function reportUnseen(gate: Gate, error: unknown): void {
  const code = SessionError.is(error) ? error.code : 'an unexpected error'
  gate.policy.logger.warn(`holdfast: a session was not stored (${code}) after its client had left.`)
}

// ------------------------------------------------------------------ what a commit puts on the head

function amend(response: GatedResponse, result: CommitResult): void {
  if (result.cookies.length === 0 && result.headers.length === 0) return
  changeHead(response, amendHead(response._header as string, result))
  tellHeaders(response, result)
}

/** The head is sent as text: `getHeader` tells the same afterwards. */
function tellHeaders(response: GatedResponse, { cookies, headers }: CommitResult): void {
  for (const [name, value] of headers) {
    const present = response.getHeader(name)
    const next = mergedValue(name, present === undefined ? undefined : String(present), value)
    if (next !== undefined) setDecidedHeader(response, name, next)
  }
  if (cookies.length === 0) return
  const present = response.getHeader('set-cookie') ?? []
  // Always a new array: the one there may be a constant of the application.
  setDecidedHeader(response, 'Set-Cookie', [...(Array.isArray(present) ? present : [String(present)]), ...cookies])
}
