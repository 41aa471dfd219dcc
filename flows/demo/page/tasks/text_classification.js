// record(logits), as `winnow predict --json` has it: see stages/tasks/text_classification/answers.py.
export const recorder = ({labels}) => logits => {
  const most = Math.max(...logits), powers = logits.map(value => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b), shares = powers.map(value => value / sum);
  const best = shares.indexOf(Math.max(...shares));
  const probabilities = Object.fromEntries(labels.map((label, at) => [label, shares[at]]));
  return {label: labels[best], probability: shares[best], probabilities};
};
