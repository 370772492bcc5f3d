import { useLayoutEffect, useRef } from 'preact/hooks'
import { cluster, working } from './lab.ts'
import { STRATEGIES } from './strategies.ts'
import { beginTour, CROWD, goTo, killOne, leaveTour, outcomes, prepare, type Tour, tour, victim } from './tour.ts'
import { TOUR, type TourStep } from './tour-steps.ts'

export function TourPanel() {
  const at = tour.value
  if (at === undefined) return null
  const step = TOUR[at.step] as TourStep
  return (
    <section class="panel tour" aria-label="Guided tour" data-step={at.step + 1} data-phase={at.phase}>
      <TourHead at={at} step={step} />
      <ol class="steps" aria-label="Steps">
        {TOUR.map(({ strategy }, index) => (
          <StepMark key={strategy} strategy={strategy} index={index} current={at.step} />
        ))}
      </ol>
      <Words at={at} step={step} />
      <Actions at={at} />
    </section>
  )
}

function TourHead({ at, step }: { at: Tour; step: TourStep }) {
  const title = useRef<HTMLHeadingElement>(null)
  // Who goes on by keyboard or hears the page begins at the title of the new step.
  useLayoutEffect(() => title.current?.focus(), [at.step])
  return (
    <div class="tour-head">
      <h2 ref={title} tabIndex={-1}>
        <span class="soft">
          {at.step + 1} of {TOUR.length}
        </span>{' '}
        {step.title}
      </h2>
      <button type="button" onClick={leaveTour}>
        Leave the tour
      </button>
    </div>
  )
}

function StepMark({ strategy, index, current }: { strategy: string; index: number; current: number }) {
  const lost = outcomes.value[index]
  const name = STRATEGIES.find(({ id }) => id === strategy)?.name
  return (
    <li class={`${index === current ? 'current' : ''} ${lost === undefined ? '' : lost > 0 ? 'bad' : 'good'}`} data-outcome={lost ?? ''}>
      <button type="button" aria-current={index === current ? 'step' : undefined} onClick={() => goTo(index)}>
        {name}
        <b>{lost === undefined ? '' : `${lost} lost`}</b>
      </button>
    </li>
  )
}

function Words({ at, step }: { at: Tour; step: TourStep }) {
  const { phase, killed, crowd, lost } = at
  return (
    <div class="words" aria-live="polite">
      {phase === 'intro' && <p>{step.about}</p>}
      {phase === 'preparing' && <p>The servers start anew, then {CROWD} visitors come…</p>}
      {phase === 'ready' && (
        <>
          <p>
            {crowd} visitors have a session, half of them are logged in. {step.running}
          </p>
          <p>
            <strong>Now kill a server</strong>: with the button here, or with “Kill” on any of the cards below.
          </p>
        </>
      )}
      {phase === 'returning' && <p>{killed} is dead. Now every visitor comes back…</p>}
      {phase === 'done' && (
        <p>
          <strong class={lost > 0 ? 'bad' : 'good'}>
            {lost === 0 ? '0 sessions lost.' : lost === 1 ? '1 visitor was forgotten.' : `${lost} visitors were forgotten.`}
          </strong>{' '}
          {lost > 0 ? step.lost : step.kept}
        </p>
      )}
    </div>
  )
}

function Actions({ at }: { at: Tour }) {
  const busy = cluster.value?.switching === true || working.value.size > 0
  const isLast = at.step === TOUR.length - 1
  const target = victim()
  return (
    <div class="row">
      {(at.phase === 'intro' || at.phase === 'preparing') && (
        <button type="button" class="primary" disabled={busy} data-tour="prepare" onClick={() => void prepare()}>
          Send {CROWD} visitors
        </button>
      )}
      {(at.phase === 'ready' || at.phase === 'returning') && (
        <button type="button" class="primary" disabled={busy || at.phase === 'returning'} data-tour="kill" onClick={() => void killOne()}>
          Kill {target}
        </button>
      )}
      {at.phase === 'done' && (
        <>
          <button type="button" class="primary" data-tour="next" onClick={() => (isLast ? leaveTour() : goTo(at.step + 1))}>
            {isLast ? 'End of the tour' : 'Next step'}
          </button>
          <button type="button" disabled={busy} onClick={() => void prepare()}>
            Once more
          </button>
        </>
      )}
    </div>
  )
}

export function TourButton() {
  return (
    <button type="button" data-tour="begin" onClick={beginTour} disabled={tour.value !== undefined}>
      Guided tour
    </button>
  )
}
