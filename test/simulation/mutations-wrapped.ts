/** Mutations of what a server remembers and gives away: its strategy or its randomness is wrapped. */
import { createHash } from 'node:crypto'
import { decodeFloorNote, encodeFloorNote, type FloorNote, joinFloorNotes } from '../../src/cluster/floor-note.ts'
import { newNoteName, peekNote, writeNote } from '../../src/core/note.ts'
import type { Jar, JarDelta, Note, RunningStrategy, Written } from '../../src/seam.ts'
import type { Mutation } from './mutation.ts'
import { isolateAndCrash, SHARED, TABS } from './mutation-plans.ts'
import type { Plan } from './plan.ts'
import type { World } from './world.ts'

/** Every write's answer and every jar go through these. */
function rewired(running: RunningStrategy, read: (jar: Jar) => Jar, answer: (delta: JarDelta, id: string) => JarDelta): RunningStrategy {
  const ids = new WeakMap<object, string>()
  const known = (opened: object, id: string): void => void ids.set(opened, id)
  const written = (done: Written, id: string): Written => {
    known(done.opened, id)
    return { opened: done.opened, jar: answer(done.jar, id) }
  }
  const idOf = (opened: object): string => ids.get(opened) ?? ''
  return {
    ...running,
    async open(jar) {
      const opening = await running.open(read(jar))
      if ('opened' in opening && opening.opened !== undefined) known(opening.opened, jar.id)
      return opening
    },
    create: async (id, draft) => written(await running.create(id, draft), id.id),
    write: async (opened, change) => written(await running.write(opened, change), idOf(opened)),
    replace: async (opened, id, draft) => written(await running.replace(opened, id, draft), id.id),
    update: async (opened, change) => written(await running.update(opened, change), idOf(opened)),
    settle(opened, decoded) {
      const delta = running.settle(opened, decoded)
      return delta === undefined ? undefined : answer(delta, idOf(opened))
    },
  }
}

const tagOf = (plan: Plan): Buffer => createHash('sha256').update(`${plan.strategy}|`).digest().subarray(0, 2)

function joined(notes: readonly Note[], tag: Buffer): FloorNote | undefined {
  const contents = notes.map((note) => decodeFloorNote(tag, peekNote(note) ?? Buffer.alloc(0))).filter((note) => note !== undefined)
  return contents.length === 0 ? undefined : contents.reduce(joinFloorNotes)
}

/** One number stands for all that was seen: a copy that counts as high is fresh enough. */
export const scalarFloor: Mutation = {
  name: 'a scalar floor',
  profile: 'pauses',
  plan: (plan) => ({ ...plan, ...TABS }),
  strategy(running, context, { world }) {
    const tag = tagOf(world.plan)
    const lowered = async (jar: Jar): Promise<Jar> => {
      const note = joined(jar.notes, tag)
      const local = (await running.get(jar.key)) as { highest?: number } | undefined
      const highest = Math.max(0, ...(note?.floor ?? []).map(({ counter }) => counter))
      if (note === undefined || local?.highest === undefined || local.highest < highest) return jar
      const name = newNoteName(context.runtime)
      return { ...jar, notes: [writeNote(context.keys, jar.id, name, encodeFloorNote(tag, { ...note, floor: [] }))] }
    }
    return { ...running, open: async (jar) => running.open(await lowered(jar)) }
  },
}

/** All notes under one name: of two answers the one that arrives last decides what was seen. */
export const overwrittenFloor: Mutation = {
  name: 'a floor cookie that overwrites',
  profile: 'steady',
  plan: (plan) => ({ ...plan, ...TABS }),
  strategy(running) {
    const NAME = 'AAAAAAAA'
    const unpacked = ({ name, value }: Note): Note => {
      if (name !== NAME) return { name, value }
      const [inner = '', text = ''] = value.split('.')
      return { name: inner, value: text }
    }
    return rewired(
      running,
      (jar) => ({ ...jar, notes: jar.notes.map(unpacked) }),
      ({ set, ...delta }) => ({ ...delta, set: set.map(({ name, value }) => ({ name: NAME, value: `${name}.${value}` })), delete: [] }),
    )
  },
}

/** A process that starts again takes the name of its former life. */
export const reusedIncarnation: Mutation = {
  name: 'a reused incarnation',
  profile: 'partitions',
  plan: (plan) => ({ ...plan, ...TABS, ...SHARED, faults: [0, 1, 2, 3, 4].flatMap((round) => isolateAndCrash(plan.nodes, round)) }),
  runtime(runtime, node) {
    let isFirst = true
    return {
      ...runtime,
      randomBytes(size) {
        if (!isFirst || size !== 6) return runtime.randomBytes(size)
        isFirst = false
        return createHash('sha256').update(node).digest().subarray(0, 6)
      },
    }
  },
}

/** Of two values the one written later by the clock on the wall stays. */
export const wallClockStamps: Mutation = {
  name: 'wall-clock stamps',
  profile: 'steady',
  plan: (plan) => ({ ...plan, ...TABS, skewsMs: plan.nodes.map((_, at) => at * 3_600_000) }),
  strategy(running, context, { world }) {
    return {
      ...running,
      write(opened, change) {
        const now = context.runtime.now()
        const set = new Map(change.set)
        for (const [field, value] of change.set) {
          const before = opened.record.get(field)
          if (before !== undefined && (stamps(world).get(before) ?? 0) > now) set.delete(field)
          else if (value !== undefined) stamps(world).set(value, now)
        }
        return running.write(opened, { ...change, set })
      },
    }
  },
}

const written = new WeakMap<World, Map<string, number>>()

function stamps(world: World): Map<string, number> {
  const map = written.get(world) ?? new Map<string, number>()
  written.set(world, map)
  return map
}
