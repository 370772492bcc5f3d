/** Store contract: a store with `freshness: 'push'` announces what others change, before a confirmation ends. */
import assert from 'node:assert/strict'
import type { ChangeWatch, SessionStore } from '../seam.ts'
import { applied, created, draft, endUser, inAMinute, newKey, newMeta, patch, until, writeId } from './store-case-tools.ts'
import type { PatchShape, StoreCase } from './store-case-tools.ts'

export const storePushCases: readonly StoreCase[] = [
  ['push - each foreign write to a session that was read is announced before confirm() ends', tellsForeignWrites, 'push', 'another'],
  ['push - and so is one to a session that this store itself wrote to last', tellsAfterOwnWrites, 'push', 'another'],
  ['push - own writes are not announced', ownWritesAreSilent, 'push', 'another'],
  ['push - every listener hears of it, a closed one of nothing', tellsEveryListener, 'push', 'another'],
  ['push - once all servers are said to have heard, they have: the store may never know', tellsWhenAllHaveHeard, 'push', 'another'],
  ['push - at random: after confirm() nothing that this store saw last is old, unless it was announced', tellsAtRandom, 'push', 'another'],
]

interface Ear {
  /** What was announced since it was last asked. */
  heard(): Promise<ReadonlySet<string>>
  /** Without a confirmation. */
  readonly keys: Set<string>
  readonly watch: ChangeWatch
}

async function listening(store: SessionStore): Promise<Ear> {
  const keys = new Set<string>()
  const watch = (store.watch as NonNullable<SessionStore['watch']>)({ changed: (key) => void keys.add(key), lost: () => {} })
  await until(() => watch.confirm())
  return {
    keys,
    watch,
    async heard() {
      assert.equal(await watch.confirm(), true, 'the channel is alive')
      const told = new Set(keys)
      keys.clear()
      return told
    },
  }
}

async function tellsForeignWrites(store: SessionStore, another: () => Promise<SessionStore>): Promise<void> {
  const other = await another()
  const ear = await listening(store)
  const { absoluteAt } = newMeta()
  const shapes: Record<string, PatchShape> = {
    set: { set: { a: '2' } },
    remove: { set: { a: undefined } },
    add: { add: { n: [1, 0] } },
    lifetime: { lifetime: { idleMs: 99_000, touchEveryMs: 999, absoluteAt } },
    'compare-and-set': { set: { a: '3' }, ifVersion: 1 },
  }
  const changes: Record<string, (key: string) => Promise<unknown>> = {
    ...Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, (key) => other.patch(key, patch(shape)).then(applied)])),
    destroy: (key) => other.destroy(key, 'destroyed', inAMinute()),
    replace: (key) => other.replace(key, newKey(), draft({}), writeId()).then(applied),
    ...(store.endUser === undefined ? {} : { endUser: () => endUser(other, 'ada') }),
  }
  for (const [name, change] of Object.entries(changes)) {
    for (const maker of [store, other]) {
      const key = await created(maker, { a: '1' }, newMeta({ userId: name === 'endUser' ? 'ada' : 'bob' }))
      await store.read(key)
      await ear.heard()
      await change(key)
      assert.ok((await ear.heard()).has(key), `${name} was announced`)
    }
  }
}

async function tellsWhenAllHaveHeard(store: SessionStore, another: () => Promise<SessionStore>): Promise<void> {
  const other = await another()
  const [ear, theirs] = [await listening(store), await listening(other)]
  const { heardByAll } = theirs.watch
  if (heardByAll === undefined) return
  await until(async () => (await ear.watch.confirm()) && heardByAll(1_000))
  const key = await created(other, { a: '1' })
  await store.read(key)
  await other.destroy(key, 'destroyed', inAMinute())
  if (await heardByAll(1_000)) assert.ok(ear.keys.has(key), 'it was announced')
  ear.watch.close()
  theirs.watch.close()
  assert.equal(await heardByAll(100), false, 'a closed watch knows nothing')
}

async function tellsAfterOwnWrites(store: SessionStore, another: () => Promise<SessionStore>): Promise<void> {
  const other = await another()
  const ear = await listening(store)
  const first = await created(store, { a: '1' })
  const second = newKey()
  const foreignWrite = async (key: string): Promise<void> => {
    await ear.heard()
    applied(await other.patch(key, patch({ set: { a: '2' } })))
    assert.ok((await ear.heard()).has(key), 'it was announced')
  }
  await foreignWrite(first)
  for (const shape of [{ set: { a: '3' } }, { add: { n: [1, 0] as [number, number] } }, { touchAt: Date.now() + 5 }]) {
    await store.read(first)
    applied(await store.patch(first, patch(shape)))
    await foreignWrite(first)
  }
  // Without a read in between: the answer to a write is enough for a near copy to go on.
  for (let count = 0; count < 3; count++) {
    applied(await store.patch(first, patch({ set: { a: '4' } })))
    await foreignWrite(first)
  }
  applied(await store.replace(first, second, draft({ a: '5' }), writeId()))
  await foreignWrite(second)
}

async function ownWritesAreSilent(store: SessionStore, another: () => Promise<SessionStore>): Promise<void> {
  const other = await another()
  const ear = await listening(store)
  const foreign = await created(other, { a: '1' }, newMeta({ userId: 'ada' }))
  const own = await created(store, { a: '1' }, newMeta({ userId: 'ada' }))
  const ofUser = await created(store, {}, newMeta({ userId: 'bob' }))
  await ear.heard()
  for (const key of [foreign, own]) {
    await store.read(key)
    applied(await store.patch(key, patch({ set: { a: '2' } })))
    applied(await store.patch(key, patch({ add: { n: [1, 0] }, touchAt: Date.now() })))
    await store.read(key)
  }
  const newer = newKey()
  applied(await store.replace(own, newer, draft({}), writeId()))
  assert.equal(await store.destroy(foreign, 'destroyed', inAMinute()), true)
  if (store.endUser !== undefined) assert.deepEqual(await endUser(store, 'bob'), [ofUser])
  assert.deepEqual([...(await ear.heard())], [])
}

async function tellsEveryListener(store: SessionStore, another: () => Promise<SessionStore>): Promise<void> {
  const other = await another()
  const [first, second] = [await listening(store), await listening(store)]
  const key = await created(store, { a: '1' })
  await store.read(key)
  applied(await other.patch(key, patch({ set: { a: '2' } })))
  assert.ok((await first.heard()).has(key) && (await second.heard()).has(key), 'both heard')
  await store.read(key)
  first.keys.clear()
  first.watch.close()
  applied(await other.patch(key, patch({ set: { a: '3' } })))
  assert.ok((await second.heard()).has(key), 'the other still hears')
  assert.deepEqual([...first.keys], [])
  assert.equal(await first.watch.confirm(), false)
  second.watch.close()
}

const KEYS = 12
const ROUNDS = 40

/** Each key is used by one operation a round, so that what this store saw last is known; the operations run together. */
async function tellsAtRandom(store: SessionStore, another: () => Promise<SessionStore>): Promise<void> {
  const other = await another()
  const ear = await listening(store)
  const keys = await Promise.all(Array.from({ length: KEYS }, (_, index) => created(index % 2 === 0 ? store : other, {}, oneOfTwo())))
  const saw = new Map<string, string>()
  for (let round = 0; round < ROUNDS; round++) {
    if (Math.random() < 0.1 && store.endUser !== undefined) await endUser(Math.random() < 0.5 ? store : other, 'ada').then(forget)
    await Promise.all(keys.map((_, index) => operation(index)))
    for (const key of await ear.heard()) saw.delete(key)
    for (const [key, state] of saw) assert.equal(state, await stateOf(other, key), `round ${round}: old and not announced`)
  }

  /** Ends by this store itself are not announced to it. */
  function forget(told: readonly string[]): void {
    for (const key of told) if (saw.has(key)) saw.set(key, 'gone')
  }

  async function operation(index: number): Promise<void> {
    const key = keys[index] as string
    const by = Math.random() < 0.5 ? store : other
    const kind = Math.random()
    if (kind < 0.3) return note(by, key, await stateOf(by, key))
    if (kind < 0.75) {
      const write = patch(Math.random() < 0.5 ? { set: { a: String(kind) } } : { add: { n: [1, 0] } })
      const result = await by.patch(key, write)
      return note(by, key, result.outcome === 'applied' ? `${result.after} ${write.writeId}` : 'gone')
    }
    if (kind < 0.85) {
      await by.destroy(key, 'destroyed', inAMinute())
      return note(by, key, 'gone')
    }
    const [newer, id] = [newKey(), writeId()]
    const result = await by.replace(key, newer, draft({}, oneOfTwo()), id)
    note(by, key, 'gone')
    if (result.outcome === 'applied') note(by, newer, `1 ${id}`)
    else await by.create(newer, draft({}, oneOfTwo()), id)
    keys[index] = newer
  }

  function note(by: SessionStore, key: string, state: string): void {
    if (by === store) saw.set(key, state)
  }
}

const oneOfTwo = () => newMeta({ userId: Math.random() < 0.5 ? 'ada' : 'bob' })

async function stateOf(store: SessionStore, key: string): Promise<string> {
  const found = await store.read(key)
  return found !== undefined && 'fields' in found ? `${found.version} ${found.writeIds[0]}` : 'gone'
}
