/** Mutations of what servers say to each other: frames are altered, dropped and made on their way. */
import type { Message } from '../../src/cluster/messages.ts'
import { VIRTUAL_EPOCH } from '../setup/virtual-runtime.ts'
import { filtered, frameOf } from './frames.ts'
import type { Mutation } from './mutation.ts'
import { BRIEF, crashEarly, EXPIRING, isolate, slowLink, TABS } from './mutation-plans.ts'
import type { World } from './world.ts'

/** Acknowledged when it arrives, applied much later. */
export const ackBeforeApply: Mutation = {
  name: 'an ack before apply',
  profile: 'crashes',
  plan: (plan) => ({ ...plan, acks: 1, backups: 1, copies: 'all', faults: plan.nodes.slice(0, 1).flatMap(crashEarly) }),
  transport: (transport, { world }) =>
    filtered(transport, {
      incoming(message, peer, { inject, send }) {
        if (message.kind !== 'delta' || message.sequence === 0) return message
        send(peer.incarnation, frameOf({ kind: 'ack', sequences: [message.sequence] }))
        world.later(4_000, () => inject(peer, frameOf({ ...message, sequence: 0 })))
        return undefined
      },
    }),
}

/** A writer that is no holder counts itself as one. */
export const foreignAck: Mutation = {
  name: "a non-holder's ack counted",
  profile: 'steady',
  plan: (plan) => ({ ...plan, strategy: 'replication', copies: 2, acks: 1, faults: [], nodes: ['n1', 'n2', 'n3', 'n4'] }),
  transport(transport) {
    const waiting = new Set<number>()
    return filtered(transport, {
      outgoing(message) {
        if (message.kind === 'record' || message.kind === 'delta') waiting.add(message.sequence)
        return message
      },
      incoming(message, peer, { inject, peers }) {
        if (message.kind !== 'ack') return message
        for (const sequence of message.sequences) {
          if (!waiting.delete(sequence)) continue
          // Its own, in the name of whoever has not answered yet.
          const frame = frameOf({ kind: 'ack', sequences: [sequence] })
          for (const other of peers()) if (other.incarnation !== peer.incarnation) inject(other, frame)
        }
        return message
      },
    })
  },
}

/** The end of a session that this server has never heard of is not kept. */
export const droppedTombstone: Mutation = {
  name: 'a dropped tombstone of an unknown key',
  profile: 'steady',
  plan: (plan) => ({ ...plan, strategy: 'replication', copies: 'all', ...TABS, ...BRIEF, faults: [0, 1, 2, 3, 4, 5, 6].map(slowLink) }),
  transport(transport) {
    const known = new Set<string>()
    const learn = (message: Message): void => {
      if (message.kind === 'record') known.add(message.record.key)
      if (message.kind === 'delta') known.add(message.delta.key)
    }
    return filtered(transport, {
      incoming(message, peer, { send }) {
        learn(message)
        if (message.kind !== 'tombstone' || known.has(message.key)) return message
        if (message.sequence !== 0) send(peer.incarnation, frameOf({ kind: 'ack', sequences: [message.sequence] }))
        return undefined
      },
      outgoing(message) {
        learn(message)
        return message
      },
    })
  },
}

/** Who drops an expired copy tells the others that the session has ended. */
export const destroyingExpiry: Mutation = {
  name: 'expiry replicated as destroy',
  profile: 'expiry',
  plan: (plan) => ({ ...plan, ...EXPIRING, faults: isolate(plan) }),
  context(context, { server, world }) {
    return {
      ...context,
      ended(key, reason) {
        context.ended(key, reason)
        if (reason === 'expired') told(world).push({ node: server.node, key })
      },
    }
  },
  transport(transport, { server, world }) {
    return filtered(transport, {
      outgoing(message, incarnation, { sendNow }) {
        const { length } = told(world)
        for (let at = 0; at < length; at++) {
          const item = told(world)[at]
          if (item?.node === server.node) sendNow(incarnation, frameOf(destroyed(item.key, world)))
        }
        return message
      },
    })
  },
}

const expired = new WeakMap<World, { readonly node: string; readonly key: string }[]>()

function told(world: World): { readonly node: string; readonly key: string }[] {
  const list = expired.get(world) ?? []
  expired.set(world, list)
  return list
}

function destroyed(key: string, world: World): Message {
  return { kind: 'tombstone', sequence: 0, request: 0, key, reason: 'destroyed', ageMs: 0, until: VIRTUAL_EPOCH + world.now + 600_000 }
}
