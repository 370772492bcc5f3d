import type { Msg } from '@nats-io/transport-node'
import { checkFrameSize } from '../core/frames.ts'
import { SessionError } from '../errors.ts'
import type { Runtime, Timer, Transport, TransportHandlers } from '../seam.ts'
import { loadNatsDriver, type NatsLine, openLine } from './nats-connection.ts'
import { createMesh, type Mesh } from './nats-mesh.ts'
import { subjectsOf } from './nats-messages.ts'
import { checkNatsOptions, type NatsSettings, type NatsTransportOptions } from './nats-options.ts'
import { checkSelf } from './self.ts'
import { warnings } from './warnings.ts'

export type { NatsAuthenticator, NatsTlsOptions, NatsTransportOptions } from './nats-options.ts'

/** A start waits so long for NATS, and so long for handshakes that have begun. */
const CONNECT_MS = 5000
const HANDSHAKE_MS = 2000
/** A timer this late means that this process was stalled. */
const STALL_MS = 1000
const LOOK_MS = 10
const NO_RESPONDERS = 503

interface Running {
  readonly mesh: Mesh
  readonly line: NatsLine
  stop(): void
}

/**
 * Servers that meet on NATS: any number of NATS servers, nothing to list but those. All that is sent is sealed (AES-256-GCM) with keys
 * from the secrets and the cluster's name, so NATS and its other users read and forge nothing. Throws CONFIG_INVALID with all problems
 * of the options. `start` rejects with DEPENDENCY_MISSING without `@nats-io/transport-node`; when NATS cannot be reached, it warns
 * and goes on trying. `send` throws PEER_PROTOCOL for a frame above 1 MiB.
 */
export function natsTransport(options: NatsTransportOptions): Transport {
  const settings = checkNatsOptions(options)
  let assembling: Promise<Running> | undefined
  let closing: Promise<void> | undefined
  let running: Running | undefined

  async function start(handlers: TransportHandlers): Promise<void> {
    if (closing !== undefined) throw new SessionError('SESSIONS_CLOSED', 'This transport is closed: make a new one.')
    if (assembling !== undefined) throw new SessionError('CONFIG_INVALID', 'This transport is started already: each server needs its own.')
    checkSelf(handlers.self)
    assembling = assemble(settings, handlers)
    running = await assembling
    await discover(running, settings, handlers.runtime, () => closing !== undefined)
  }

  return {
    name: 'nats',
    cluster: settings.cluster,
    start,
    peers: () => running?.mesh.peers() ?? [],
    send(incarnation, frame) {
      checkFrameSize(frame)
      return running?.mesh.send(incarnation, frame) ?? false
    },
    refuse: (incarnation, why) => running?.mesh.refuse(incarnation, why),
    traffic: () => running?.line.traffic() ?? { sentBytes: 0, receivedBytes: 0 },
    close() {
      // A start that failed has left nothing to close, and has told its caller.
      closing ??= assembling === undefined ? Promise.resolve() : assembling.then(shut, () => undefined)
      return closing
    },
  }
}

async function assemble(settings: NatsSettings, handlers: TransportHandlers): Promise<Running> {
  const driver = await loadNatsDriver()
  const { runtime, logger, self } = handlers
  const subjects = subjectsOf(settings.cluster)
  const mesh: Mesh = createMesh({
    settings,
    handlers,
    subjects,
    warn: warnings(runtime, logger),
    wire: {
      isOpen: () => line.isOpen(),
      publish: (subject, message, replyTo) => line.publish(subject, message, replyTo),
      largestMessage: () => line.largestMessage(),
    },
  })
  const guarded = (handle: (message: Msg) => void) => (message: Msg) => {
    try {
      handle(message)
    } catch (error) {
      // The driver would stop reading for good.
      logger.error(`holdfast: a message from NATS could not be handled: ${error instanceof Error ? error.message : 'unknown error'}`)
    }
  }
  const receive = guarded(({ data }) => mesh.received(Buffer.from(data.buffer, data.byteOffset, data.byteLength)))
  const line: NatsLine = openLine({
    driver,
    settings,
    runtime,
    logger,
    connected: () => mesh.connected(),
    subscriptions: new Map([
      [subjects.to(self.incarnation), receive],
      [
        subjects.unheard(self.incarnation, '*'),
        guarded((message) => {
          if (message.headers?.code === NO_RESPONDERS) mesh.unheard(message.subject.slice(message.subject.lastIndexOf('.') + 1))
        }),
      ],
      // Last: whoever hears of this server can reach it.
      [subjects.all, receive],
    ]),
  })
  return { mesh, line, stop: startBeating(settings.heartbeatMs, mesh, line, runtime) }
}

/** The heart of the transport: pings, silence and presence all move with it. */
function startBeating(everyMs: number, mesh: Mesh, line: NatsLine, runtime: Runtime): () => void {
  let due = runtime.monotonic() + everyMs
  let timer: Timer = runtime.setTimer(everyMs, beat)
  let stopped = false

  function beat(): void {
    const now = runtime.monotonic()
    const stalled = now - due > STALL_MS
    due = now + everyMs
    line.beat(stalled)
    mesh.beat(stalled)
    if (!stopped) timer = runtime.setTimer(everyMs, beat)
  }

  return () => {
    stopped = true
    timer.cancel()
  }
}

/** Nobody lists the members: those who live answer at once, or are heard within a heartbeat. */
async function discover({ line, mesh }: Running, settings: NatsSettings, runtime: Runtime, isClosed: () => boolean): Promise<void> {
  const pause = (ms: number): Promise<void> => new Promise((resolve) => void runtime.setTimer(ms, resolve))
  // Timers alone would let a process end that only waits for this.
  const release = runtime.keepAlive?.()
  await Promise.race([line.tried, pause(CONNECT_MS)])
  if (line.isOpen() && !isClosed()) await pause(settings.heartbeatMs)
  const until = runtime.monotonic() + HANDSHAKE_MS
  while (mesh.busy() && !isClosed() && runtime.monotonic() < until) await pause(LOOK_MS)
  release?.()
}

async function shut({ mesh, line, stop }: Running): Promise<void> {
  stop()
  mesh.close()
  await line.close()
}
