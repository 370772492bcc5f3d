/** A real transport under test with everything it told. */
import { randomBytes } from 'node:crypto'
import { systemRuntime } from '../../../src/core/runtime.ts'
import type { Peer, Runtime, Transport } from '../../../src/seam.ts'

export const SECRET = 'the first secret of this test, long enough'
export const OTHER_SECRET = 'the other secret of this test, long enough'

export interface Recorded {
  readonly self: Peer
  /** `up b`, `down b: why`, `frame b text` in order. */
  readonly events: string[]
  readonly warnings: string[]
  send(to: { readonly self: Peer }, text: string): boolean
}

export interface MemberOptions {
  node?: string | undefined
  incarnation?: string | undefined
  runtime?: Runtime | undefined
  onFrame?: ((body: Buffer) => void) | undefined
}

/** Those, and what is left for the transport. */
export function memberOptions<O extends MemberOptions>(options: O): [MemberOptions, Omit<O, keyof MemberOptions>] {
  const { node, incarnation, runtime, onFrame, ...rest } = options
  return [{ node, incarnation, runtime, onFrame }, rest]
}

const running: Transport[] = []

export async function closeAll(): Promise<void> {
  await Promise.all(running.splice(0).map((transport) => transport.close()))
}

/** Closed by `closeAll()`. `tellsWhy` false: events are `down b` alone. */
export async function startRecorded(transport: Transport, options: MemberOptions, tellsWhy = true): Promise<Recorded> {
  const { node = `n${running.length + 1}`, incarnation = `${node}-${randomBytes(6).toString('hex')}`, runtime, onFrame } = options
  running.push(transport)
  const self: Peer = { node, incarnation }
  const events: string[] = []
  const warnings: string[] = []
  const keep = (line: string): void => void warnings.push(line)
  await transport.start({
    self,
    runtime: runtime ?? systemRuntime(),
    logger: { warn: keep, error: keep },
    frame: (peer, body) => {
      events.push(`frame ${peer.node} ${body.length < 100 ? body.toString() : body.length}`)
      onFrame?.(body)
    },
    up: (peer) => void events.push(`up ${peer.node}`),
    down: (peer, why) => void events.push(`down ${peer.node}${tellsWhy ? `: ${why}` : ''}`),
  })
  return { self, events, warnings, send: (to, text) => transport.send(to.self.incarnation, Buffer.from(text)) }
}
