// record(logits), as `winnow predict --json` has it: see stages/tasks/multilabel_classification/answers.py.
const HALF = 0.5;  // the threshold of a label that has none

export const recorder = ({labels, thresholds = {}}) => logits => {
  const shares = logits.map(value => Math.fround(1 / (1 + Math.exp(-value))));
  const given = labels.map((label, at) => ({label, probability: shares[at]}))
    .filter(one => one.probability > (Object.hasOwn(thresholds, one.label) ? thresholds[one.label] : HALF))
    .sort((a, b) => b.probability - a.probability);
  return {labels: given, probabilities: Object.fromEntries(labels.map((label, at) => [label, shares[at]]))};
};
