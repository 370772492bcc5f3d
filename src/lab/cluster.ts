/** The lab's cluster: its servers, the gateway in front of them, and what is known of the sessions. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NODES_MAX, policyOf, type StrategyChoice, type StrategyOptions } from './choice.ts'
import { checkAction, type Cluster, type ClusterOptions, type NodeAction } from './cluster-types.ts'
import { createFront, type Front } from './front.ts'
import { type LabError, labError } from './lab-error.ts'
import { createLedger } from './ledger.ts'
import type { ServerConfig } from './messages.ts'
import { shownStoreUrl } from './store-url.ts'
import { freePort, freePorts, isFree } from './ports.ts'
import { createServerProcess, type ServerProcess } from './server-process.ts'
import { checkStrategy } from './strategy.ts'
import { startWatchdog } from './watchdog.ts'
import { whereabouts } from './whereabouts.ts'

export type { Cluster } from './cluster-types.ts'

const START_ATTEMPTS = 3
const REFRESH_DEADLINE_MS = 300

interface Member {
  readonly server: ServerProcess
  meshPort: number
}

export function createCluster(options: ClusterOptions): Cluster {
  const { port } = options
  const secrets = [randomBytes(32).toString('base64url')]
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-lab-'))
  const watchdog = startWatchdog()
  watchdog.removeAtEnd(folder)
  const ledger = createLedger()
  const members = new Map<string, Member>()
  let choice = options.choice
  let front: Front | undefined
  let generation = 0
  let since = Date.now()
  let switching = true
  let closing = false
  let nextNode = 1
  /** Counters as they stood when this strategy began. */
  let past = { failed: 0, lostUpdates: 0, stale: 0 }

  function newMember(): Member {
    const id = `n${nextNode++}`
    const server = createServerProcess(id, watchdog, {
      event(event) {
        ledger.event(event)
        options.event(event)
      },
      stranger: (key) => ledger.stranger(key),
      ended: (key) => ledger.ended(key),
      changed: () => options.changed(),
      log: (line) => options.log(line),
    })
    const member = { server, meshPort: 0 }
    members.set(id, member)
    return member
  }

  function configOf(member: Member): ServerConfig {
    const peers = [...members.values()].filter((peer) => peer.meshPort !== 0).map((peer) => `127.0.0.1:${peer.meshPort}`)
    const mesh = { cluster: `lab-${port}-${generation}`, port: member.meshPort, peers }
    return {
      node: member.server.id,
      port: member.server.port(),
      cookieName: `lab-${port}`,
      secrets,
      choice: withStore(choice),
      mesh,
      since,
      controlUrl: options.controlUrl,
    }
  }

  /** `dedicated` without a store gets a file of its own, new with every change of strategy. */
  function withStore(wanted: StrategyChoice): StrategyChoice {
    if (wanted.strategy !== 'dedicated' || wanted.options.store !== undefined) return wanted
    return { ...wanted, options: { ...wanted.options, store: `sqlite:${join(folder, `sessions-${generation}.db`)}` } }
  }

  async function startMember(member: Member): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      if (member.meshPort === 0 || !(await isFree(member.meshPort))) member.meshPort = await freePort()
      const config = configOf(member)
      const ownPort = config.port !== 0 && (await isFree(config.port)) ? config.port : 0
      // Whoever closes has ended the servers there were: none may come after.
      if (closing) throw labError(409, 'CLUSTER_BUSY', 'The cluster is being closed.')
      try {
        await member.server.start({ ...config, port: ownPort })
        options.log(`${member.server.id} is up`)
        return
      } catch (error) {
        // Between finding a free port and using it another program may take it.
        const taken = ['EADDRINUSE', 'PORT_IN_USE'].includes((error as LabError).code)
        if (!taken || attempt === START_ATTEMPTS || closing) throw error
        member.meshPort = 0
      }
    }
  }

  async function startAll(): Promise<void> {
    const ports = await freePorts(members.size)
    for (const member of members.values()) member.meshPort = ports.pop() ?? 0
    const started = await Promise.allSettled([...members.values()].map(startMember))
    const failed = started.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    front = await createFront({ port, policy: policyOf(choice), routeCookie: `lab-${port}-route`, servers: servers() })
  }

  function servers(): { id: string; url: string }[] {
    return [...members.values()].map(({ server }) => ({ id: server.id, url: server.view().url }))
  }

  async function stopAll(): Promise<void> {
    await front?.close()
    front = undefined
    await Promise.all([...members.values()].map(({ server }) => server.stop()))
  }

  async function restartWith(wanted: StrategyChoice): Promise<void> {
    await stopAll()
    choice = wanted
    generation += 1
    since = Date.now()
    ledger.reset()
    await startAll()
    past = countersNow()
  }

  function countersNow(): typeof past {
    const sum = { failed: front?.failed() ?? 0, lostUpdates: 0, stale: 0 }
    for (const { server } of members.values()) {
      const counters = server.counters()
      sum.lostUpdates += counters.lostUpdates
      sum.stale += counters.stale
    }
    return sum
  }

  function memberOf(id: string): Member {
    const member = members.get(id)
    if (member === undefined) throw labError(404, 'NODE_UNKNOWN', 'There is no server of this name: GET /api/cluster lists them.')
    return member
  }

  function refuseWhileSwitching(): void {
    if (switching || closing) throw labError(409, 'CLUSTER_BUSY', 'The cluster is restarting: try again when it is ready.')
  }

  async function leave(member: Member): Promise<void> {
    const { server } = member
    // What it has begun it answers: a server that is taken away on purpose fails nobody.
    if (server.view().state === 'up') await Promise.all([front?.drain(server.id), server.drain()])
    await server.stop()
    await front?.remove(server.id)
    members.delete(server.id)
    options.changed()
  }

  async function perform(member: Member, action: NodeAction): Promise<void> {
    const { server } = member
    if (action === 'drain') {
      await Promise.all([front?.drain(server.id), server.drain()])
      return
    }
    if (action === 'start') await startMember(member)
    else await server[action]()
    // One that was paused while it drained goes on draining.
    if (server.view().state === 'up') await front?.serve({ id: server.id, url: server.view().url })
  }

  return {
    async start() {
      for (let count = 0; count < options.nodes; count++) newMember()
      await startAll()
      switching = false
    },
    view() {
      const now = countersNow()
      const known = ledger.counts()
      const nodes = [...members.values()].map(({ server }) => server.view())
      return {
        strategy: choice.strategy,
        options: shownOptions(choice.options),
        gateway: { url: `http://127.0.0.1:${port}`, policy: policyOf(choice) },
        nodes,
        totals: {
          sessions: known.sessions,
          lost: known.lost,
          lostUpdates: known.lostUpdates + now.lostUpdates - past.lostUpdates,
          stale: now.stale - past.stale,
          failed: now.failed - past.failed,
        },
        notProtected: [...new Set([...members.values()].flatMap(({ server }) => server.notProtected()))],
        switching,
      }
    },
    async refresh() {
      await Promise.all([...members.values()].map(({ server }) => server.refresh(REFRESH_DEADLINE_MS)))
    },
    async setStrategy(wanted) {
      refuseWhileSwitching()
      switching = true
      try {
        // Options that contradict each other are refused before the running cluster is touched.
        await checkStrategy(wanted)
        const previous = choice
        options.changed()
        try {
          await restartWith(wanted)
        } catch (error) {
          if (!closing) await restartWith(previous)
          throw error
        }
      } finally {
        switching = false
        options.changed()
      }
    },
    async add() {
      refuseWhileSwitching()
      if (members.size >= NODES_MAX) throw labError(409, 'CLUSTER_FULL', `The lab takes at most ${NODES_MAX} servers.`)
      const member = newMember()
      try {
        await startMember(member)
      } catch (error) {
        members.delete(member.server.id)
        options.changed()
        throw error
      }
      await front?.add({ id: member.server.id, url: member.server.view().url })
      await member.server.refresh(REFRESH_DEADLINE_MS)
      return member.server.view()
    },
    async remove(id) {
      refuseWhileSwitching()
      await leave(memberOf(id))
    },
    async act(id, action) {
      const member = memberOf(id)
      refuseWhileSwitching()
      checkAction(id, action, member.server.view().state)
      await perform(member, action)
      await member.server.refresh(REFRESH_DEADLINE_MS)
      return member.server.view()
    },
    locate: (key) => {
      const all = [...members.values()].map(({ server }) => server)
      return whereabouts(key, choice.strategy, all, ledger)
    },
    newest: (count) => ledger.newest(count),
    async close() {
      closing = true
      await stopAll().catch((error: Error) => options.log(error.message))
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
      await watchdog.close()
    },
  }
}

/** Everybody who may open the page sees them. */
function shownOptions(options: StrategyOptions): StrategyOptions {
  return options.store === undefined ? options : { ...options, store: shownStoreUrl(options.store) }
}
