/** The guided tour: sets each step up, waits for the kill, has everybody come back, and counts. */
import { effect, signal } from '@preact/signals'
import { act, cluster, readCluster, returnVisitors, sendVisitors, setStrategy } from './lab.ts'
import { TOUR } from './tour-steps.ts'

export interface Tour {
  step: number
  phase: 'intro' | 'preparing' | 'ready' | 'returning' | 'done'
  killed: string | undefined
  lost: number
  crowd: number
}

export const CROWD = 24
/** So long a gateway waits before it sticks visitors to servers that name no routes. */
const STICKS_AFTER_MS = 1_200

export const tour = signal<Tour | undefined>(undefined)
/** Lost at each step that was gone through. */
export const outcomes = signal<readonly (number | undefined)[]>([])

export function beginTour(): void {
  outcomes.value = []
  tour.value = { step: 0, phase: 'intro', killed: undefined, lost: 0, crowd: 0 }
}
export function leaveTour(): void {
  tour.value = undefined
  // Where one came from, once the button can be used again.
  requestAnimationFrame(() => document.querySelector<HTMLElement>('[data-tour=begin]')?.focus())
}
export function goTo(step: number): void {
  if (TOUR[step] !== undefined) tour.value = { step, phase: 'intro', killed: undefined, lost: 0, crowd: 0 }
}

/** Whether this step is still the one that is shown: it can be left at any time. */
function still(step: number, phase: Tour['phase']): boolean {
  return tour.value?.step === step && tour.value.phase === phase
}
function turn(change: Partial<Tour>): void {
  if (tour.value !== undefined) tour.value = { ...tour.value, ...change }
}

export async function prepare(): Promise<void> {
  const at = tour.value
  const wanted = TOUR[at?.step ?? -1]
  if (at === undefined || wanted === undefined) return
  turn({ phase: 'preparing' })
  const isSet = await setStrategy(wanted.strategy, wanted.options)
  if (isSet && at.step === 0) await new Promise((resolve) => setTimeout(resolve, STICKS_AFTER_MS))
  const isReady = isSet && (await sendVisitors(CROWD)) && (await returnVisitors())
  const view = isReady ? await readCluster() : undefined
  if (!still(at.step, 'preparing')) return
  turn(view === undefined ? { phase: 'intro' } : { phase: 'ready', crowd: view.totals.sessions, lost: view.totals.lost })
}

/** The server with the most sessions, where that is known. */
export function victim(): string | undefined {
  const up = (cluster.value?.nodes ?? []).filter((node) => node.state === 'up')
  return [...up].sort((a, b) => b.sessions - a.sessions)[0]?.id
}

export async function killOne(): Promise<void> {
  const id = victim()
  if (id !== undefined) await act(id, 'kill')
}

async function count(step: number): Promise<void> {
  await returnVisitors()
  const view = await readCluster()
  if (!still(step, 'returning')) return
  const lost = view?.totals.lost ?? 0
  turn({ phase: 'done', lost })
  outcomes.value = TOUR.map((_, index) => (index === step ? lost : outcomes.value[index]))
}

/** However the server was killed: from the tour, from its card, or from outside. */
effect(() => {
  const at = tour.value
  const down = cluster.value?.nodes.find((node) => node.state === 'down')
  if (down === undefined || at === undefined) return
  const isLuckless = at.phase === 'done' && at.step === 0 && at.lost === 0 && at.killed !== undefined && down.id !== at.killed
  if (at.phase !== 'ready' && !isLuckless) return
  turn({ phase: 'returning', killed: down.id })
  void count(at.step)
})
