// oxlint-disable no-underscore-dangle -- the names are node's
/**
 * Holds back the bytes of an answer whose head node has decided already, in the queue where node keeps a pipelined answer
 * until its turn comes. So lengths, `drain`, callbacks and events stay node's own.
 */
import { type NodeResponse, nodeResponse, type QueuedOutput } from './node-response.ts'
import { closeAfterAnswer, guardSocket } from './socket-guard.ts'

const HELD: unique symbol = Symbol('holdfast.held')
/** A handler that has not ended by then does not keep the visitor waiting for the error. */
const GRACE_MS = 100

interface HeldResponse extends NodeResponse {
  [HELD]: Held
}

interface Held {
  /** `dropping`: the answer will be replaced once the handler has ended it. */
  state: 'holding' | 'dropping' | 'replaced' | 'passing'
  /** Where the held bytes begin in the queue: informational answers may stand before them. */
  readonly first: number
  readonly sizeBefore: number
  readonly writeRaw: NodeResponse['_writeRaw']
  readonly flush: NodeResponse['_flush']
  ended: (() => void) | undefined
}

export function holdOutput(response: NodeResponse): void {
  const before = (response as Partial<HeldResponse>)[HELD]
  const held = nodeResponse(response) as HeldResponse
  held[HELD] = {
    state: 'holding',
    first: held.outputData.length,
    sizeBefore: held.outputSize,
    writeRaw: before?.writeRaw ?? held._writeRaw,
    flush: before?.flush ?? held._flush,
    ended: undefined,
  }
  held._writeRaw = writeRaw
  held._flush = flush
  guardSocket(held.req.socket, isHeldWhole)
}

/** Nothing was held after all. */
export function passOutput(response: NodeResponse): void {
  ;(response as HeldResponse)[HELD].state = 'passing'
}

function isHeldWhole(response: object): boolean {
  const { [HELD]: held, writableEnded } = response as HeldResponse
  return writableEnded && held?.state === 'holding'
}

/** Puts another head in the place of the one that node rendered, and that may stand in front of queued bytes. */
export function changeHead(response: NodeResponse, head: string): void {
  const before = response._header as string
  response._header = head
  if (!response._headerSent) return
  const entry = response.outputData[(response as HeldResponse)[HELD].first] as QueuedOutput
  entry.data = head + (entry.data as string).slice(before.length)
  response.outputSize += head.length - before.length
}

/** The held bytes leave, or stay in the queue until the answer's turn on its connection. */
export function sendOutput(response: NodeResponse): void {
  release(response as HeldResponse, 'passing')
}

/**
 * Drops what is held and sends `render`'s bytes instead: at once when the answer has ended, otherwise when it ends, within a
 * grace of 100 ms, after which the connection closes behind them.
 */
export function replaceOutput(response: NodeResponse, render: (closes: boolean) => { head: string; body: Buffer }): void {
  const held = (response as HeldResponse)[HELD]
  held.state = 'dropping'
  const replace = (): void => {
    if (held.state === 'dropping') replaceNow(response as HeldResponse, held, render)
  }
  if (response.writableEnded || response.destroyed) return replace()
  const timer = setTimeout(replace, GRACE_MS)
  held.ended = () => {
    clearTimeout(timer)
    replace()
  }
  response.once('close', held.ended)
}

function replaceNow(response: HeldResponse, held: Held, render: (closes: boolean) => { head: string; body: Buffer }): void {
  if (!response.writableEnded) response._last = true
  const { head, body } = render(response._last)
  const bytes = Buffer.concat([Buffer.from(head, 'latin1'), body])
  const dropped = response.outputData.splice(held.first)
  response.outputData.push({ data: bytes, encoding: null, callback: null })
  // Whoever waits for a callback goes on.
  for (const { callback } of dropped) if (callback) response.outputData.push({ data: '', encoding: 'latin1', callback })
  response.outputSize = held.sizeBefore + bytes.length
  response._header = head
  response._headerSent = true
  release(response, 'replaced')
}

function release(response: HeldResponse, state: 'passing' | 'replaced'): void {
  const held = response[HELD]
  held.state = state
  // Node counts queued bytes per connection and takes them off again as it flushes.
  const bytes = response.outputSize - held.sizeBefore
  if (bytes > 0) response._onPendingData(bytes)
  const { socket } = response
  response._flush()
  if (socket !== null) closeAfterAnswer(socket)
}

// ------------------------------------------------------------------ what takes the place of node's methods

function writeRaw(this: HeldResponse, ...[data, encoding, callback, size]: Parameters<NodeResponse['_writeRaw']>): boolean {
  const held = this[HELD]
  if (held.state === 'passing') return held.writeRaw.call(this, data, encoding, callback, size)
  const entry: QueuedOutput = typeof encoding === 'function' ? { data, encoding: null, callback: encoding } : { data, encoding, callback }
  if (held.state === 'replaced') return held.writeRaw.call(this, '', 'latin1', entry.callback)
  this.outputData.push(entry)
  this.outputSize += data.length
  // Node marks the answer as ended after it has queued its last bytes.
  if (held.state === 'dropping') process.nextTick(() => this.writableEnded && held.ended?.())
  return this.outputSize < this.writableHighWaterMark
}

function flush(this: HeldResponse): void {
  const held = this[HELD]
  if (held.state === 'holding' || held.state === 'dropping') return
  const { socket } = this
  held.flush.call(this)
  // A handler that still writes must not keep the connection, which the visitor already takes for free.
  if (held.state === 'replaced' && !this.writableEnded) socket?.destroySoon()
}
